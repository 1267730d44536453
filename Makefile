# Every task of this repository. `make` alone lists them.

PYTHON ?= python3
PYTEST_ARGS ?=
BIN := .venv/bin
NOTEBOOKS := $(wildcard book/*.ipynb)
# Threads that spin while they wait for each other bring a training to a stand where cores are shared.
export OMP_WAIT_POLICY ?= passive

.DEFAULT_GOAL := help
.PHONY: help env run test check browser book lab bench clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

env: .venv/.installed  ## make .venv and install everything in it (skipped when nothing changed)

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "This needs Python 3.11 or newer; $(PYTHON) is missing or older. Name another: make env PYTHON=python3.12"; exit 1; }
	@echo "Installing into .venv: some minutes and several gigabytes the first time."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[notebooks,export,book,test]' -c constraints.txt
	@touch $@

run: env  ## run the benchmark notebook and print its table
	@$(BIN)/python -m dqroute.sweep.notebook

check: env  ## check style, types and that notebooks hold no outputs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(if $(NOTEBOOKS),$(BIN)/nbstripout --verify $(NOTEBOOKS))

browser: env  ## find a Chromium for the tests of the book, or install one
	@$(BIN)/python tools/browser.py

test: check browser  ## all checks, then all tests but the weekly workflow's, the slow ones too, in two processes
	$(BIN)/python -m pytest -m "not weekly" -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

book: env  ## build the book into _build/html, warnings being errors
	@$(BIN)/python tools/build_book.py

lab: env  ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab book

bench: env  ## measure the engine beside a plain PyTorch loop (15 to 45 minutes)
	@$(BIN)/python benchmarks/measure.py

clean:  ## remove what was built (not .venv, not runs)
	rm -rf _build build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find dqroute tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
