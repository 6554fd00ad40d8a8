# Two commands do everything on a fresh machine with Python 3.11 and make:
#   make demo    set up, run the main job on the shipped samples, show where the results are
#   make test    set up, lint, check types and pass the tests
# make ui opens Dagster's pages on what is there.

PYTHON ?= python3
BIN := .venv/bin
export DAGSTER_HOME ?= $(CURDIR)
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Installed once for each version of these files.
INPUTS := pyproject.toml constraints.txt

.PHONY: demo test lint types ui samples

demo: .venv/.installed
	@# Two samples are damaged on purpose, so "1: some recordings failed" is what a healthy demo ends with.
	$(BIN)/callpipeline run data/samples || test $$? -eq 1
	@$(BIN)/callpipeline status --json data/samples | grep -q '"done": 38, "failed": 2' || \
		{ echo "The demo is not as it should be: callpipeline status --failed"; exit 1; }

test: lint types
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed-dev
	$(BIN)/mypy

ui: .venv/.installed
	$(BIN)/dagster dev

# Speak the sample calls anew from their dialogue files; needs flite.
samples: .venv/.installed-dev
	$(BIN)/python data/make_samples.py

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.installed: $(INPUTS) | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable . --constraint constraints.txt
	@touch $@

.venv/.installed-dev: $(INPUTS) | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	@touch $@ .venv/.installed
