# make fig1: Figure 1 at the paper's widths; make test: the tests. Both install what they need into .venv, once.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: install fig1 ci-fig1 figures test test-all golden golden-check lint clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[dev,parallel]'
	touch $@

fig1: $(INSTALLED)
	$(BIN)/python scripts/run.py +exp=fig1

ci-fig1: $(INSTALLED)
	$(BIN)/python scripts/run.py +exp=ci/fig1

figures: $(INSTALLED)
	$(BIN)/python scripts/figures.py

test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile -m "not slow"

test-all: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

# A few numbers of everything, kept in tests/golden.json: written; compared with three instruction sets.
golden: $(INSTALLED)
	$(BIN)/python tests/golden.py --write

golden-check: $(INSTALLED)
	$(BIN)/python tests/golden.py --everywhere

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
