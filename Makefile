# Every target installs what it needs into .venv, once. make help lists them.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
FITS := import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 14) or sys.exit("error: Python {}.{}; 3.11 to 3.13 is needed, as in make PYTHON=python3.13".format(*v))
PAPER := fig1 fig2 fig3 theorem1 theorem2 remark4 prop1 prop2 remark1 kernel_gradient random_functions least_squares \
	multi_output depth_inference

.PHONY: help install fig1 ci-fig1 ci paper benchmark figures report test test-all golden golden-check lint clean

help: # print this list
	@sed -n 's/^\([a-z0-9-]*\):.*# \(.*\)/make \1: \2/p' Makefile

install: $(INSTALLED) # install everything into .venv

$(INSTALLED): pyproject.toml requirements.lock
	@$(BIN)/python -c '$(FITS); import pip' 2>/dev/null || { $(PYTHON) -c '$(FITS)' && $(PYTHON) -m venv --clear .venv; }
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[dev,parallel]'
	touch $@

fig1: $(INSTALLED) # Figure 1 at the paper's widths, 3 minutes
	$(BIN)/python scripts/run.py +exp=fig1

ci-fig1: $(INSTALLED) # the same at reduced width, in half a minute
	$(BIN)/python scripts/run.py +exp=ci/fig1

ci: $(INSTALLED) # every experiment at reduced size, some minutes
	for file in conf/exp/ci/*.yaml; do $(BIN)/python scripts/run.py +exp=ci/$$(basename $$file .yaml) || exit; done

paper: $(INSTALLED) # every experiment of the paper, Figures 1, 2 and 3 first, 50 minutes
	for name in $(PAPER); do $(BIN)/python scripts/run.py +exp=$$name || exit; done

benchmark: $(INSTALLED) # every benchmark, into figures/benchmark.json: 15 minutes on 2 idle cores
	$(BIN)/python scripts/benchmark.py --json figures/benchmark.json

figures: $(INSTALLED) # redraw every figure, the claims and the report into results/figures
	$(BIN)/python scripts/figures.py

report: figures # the same; the report is results/figures/report.html

test: $(INSTALLED) # the fast tests, some minutes
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal -m "not slow"

test-all: $(INSTALLED) # all tests
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

golden: $(INSTALLED) # write missing reference numbers to tests/golden.json
	$(BIN)/python tests/golden.py --write

golden-check: $(INSTALLED) # compare with the reference numbers under three instruction sets
	$(BIN)/python tests/golden.py --everywhere

lint: $(INSTALLED) # ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: # remove .venv and caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
