# `make bench` and `make test` are all that a newcomer needs; both make what is missing first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: bench test install lint format benchmarks soundness showcase readme clean help

bench: $(VENV)/.installed  ## run the suite `quick` and print its report; a second call reuses what is there
	$(BIN)/relubench run quick

test: $(VENV)/.installed-test  ## ruff, mypy --strict and the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --ignore tests/benchmarks --numprocesses logical --maxprocesses 4 --dist worksteal
	$(BIN)/python -m pytest tests/benchmarks

install: $(VENV)/.installed  ## make .venv and install relubench into it

benchmarks: $(VENV)/.installed-test  ## the speed benchmarks at their full size, with their ratios
	RELUBENCH_FULL_BENCHMARKS=1 $(BIN)/python -m pytest tests/benchmarks -s

soundness: $(VENV)/.installed-test  ## 2,000 hostile networks, each asked in every way and held against the exact answer
	$(BIN)/python -m tests.soundness

showcase: $(VENV)/.installed  ## measure the suites of results/showcase, an hour on one core, and write its report and README's numbers
	$(BIN)/relubench run chapter --no-report
	$(BIN)/relubench run solvers --no-report
	$(MAKE) readme

readme: $(VENV)/.installed  ## the report in results/showcase, and from it every number in README
	$(BIN)/relubench report results/chapter results/solvers --out results/showcase --write markdown --write csv --write figures >/dev/null
	$(BIN)/python docs/readme.py

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) results/quick .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build

help:
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "relubench needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@ $(VENV)/.installed
