# `make demo` and `make test` need Python 3.11, make and a package index; they set up the rest.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(if $(shell command -v $(name)),$(name))))
BIN := .venv/bin
READY := .venv/ready
# Kept bytecode takes a process that imports torch from 12 seconds to 4, and tests start many.
unexport PYTHONDONTWRITEBYTECODE
# Over two workers, a file in one of them, in the order of tests/conftest.py: long ones first.
SPREAD := -n 2 --dist loadfile --no-loadscope-reorder
# Ray, servers and browsers leave threads and handlers behind in a process.
ALONE := tests/batch tests/serving tests/report/test_evaluation_page.py

.PHONY: help setup lock fix check test demo bench docs

help:  ## show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(READY)  ## create .venv with everything that the project needs

$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirement requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

lock: setup  ## pin every dependency anew
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-header pyproject.toml --output-file requirements.lock

fix: setup  ## format, and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: setup  ## style, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

test: setup  ## the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/pytest $(SPREAD) $(addprefix --ignore=,$(ALONE))
	OMP_NUM_THREADS=1 $(BIN)/pytest $(SPREAD) $(ALONE)

demo: setup  ## the compact model on real photographs
	$(BIN)/clipn demo

bench: setup  ## speed, as ratios taken in one run
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

docs: setup  ## the documents as a site, in runs/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
