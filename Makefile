# Every target installs what it needs into .venv, once. make help lists them.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
PAPER := fig1 fig2 fig3 theorem1 theorem2 remark4 prop1 prop2 remark1 kernel_gradient random_functions least_squares \
	multi_output depth_inference

.PHONY: help install fig1 ci-fig1 ci paper benchmark figures report test test-all golden golden-check lint clean

help: # this list
	@sed -n 's/^\([a-z0-9-]*\):.*# \(.*\)/make \1: \2/p' Makefile

install: $(INSTALLED) # what is needed, into .venv

$(INSTALLED): pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[dev,parallel]'
	touch $@

fig1: $(INSTALLED) # Figure 1 at the paper's widths, 3 minutes
	$(BIN)/python scripts/run.py +exp=fig1

ci-fig1: $(INSTALLED) # the same at reduced width, in half a minute
	$(BIN)/python scripts/run.py +exp=ci/fig1

ci: $(INSTALLED) # every experiment at reduced size: minutes
	for file in conf/exp/ci/*.yaml; do $(BIN)/python scripts/run.py +exp=ci/$$(basename $$file .yaml) || exit; done

paper: $(INSTALLED) # Figures 1, 2 and 3, then every other experiment of the paper: 50 minutes
	for name in $(PAPER); do $(BIN)/python scripts/run.py +exp=$$name || exit; done

benchmark: $(INSTALLED) # every benchmark, into figures/benchmark.json: 15 minutes on 2 idle cores
	$(BIN)/python scripts/benchmark.py --json figures/benchmark.json

figures: $(INSTALLED) # redraw every figure, the claims and the report into results/figures
	$(BIN)/python scripts/figures.py

report: figures # the same: results/figures/report.html

test: $(INSTALLED) # the tests that take seconds
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal -m "not slow"

test-all: $(INSTALLED) # all tests
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

golden: $(INSTALLED) # write the kept numbers that are missing (tests/golden.json)
	$(BIN)/python tests/golden.py --write

golden-check: $(INSTALLED) # compare them under three instruction sets
	$(BIN)/python tests/golden.py --everywhere

lint: $(INSTALLED) # ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: # remove .venv and caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
