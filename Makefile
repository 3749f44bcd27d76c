# `make demo` and `make test` need Python 3.11 (or newer) and make; they set up everything else.

# The interpreter that creates .venv. Override: make test PYTHON=/path/to/python3.12
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c $(RECENT) 2>/dev/null && echo $$python && break; done)
RECENT := 'import sys; sys.exit(sys.version_info < (3, 11))'
# Installed before everything else, so that its build can be chosen (CPU only, another CUDA version,
# an index: make test TORCH="torch==2.13.0 --index-url <url>").
TORCH ?= torch==2.13.0
# Parallel test processes; each is single-threaded.
TEST_PROCESSES ?= 2

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Scripts in benchmarks/ as targets: benchmark-env-speed and so on; options go into ARGS.
BENCHMARKS := $(subst _,-,$(patsubst benchmarks/%.py,benchmark-%, \
	$(filter-out benchmarks/common.py,$(sort $(wildcard benchmarks/*.py)))))
ARGS ?=

DEMO := runs/demo
DEMO_MINUTES ?= 2

.PHONY: help demo test test-slow soak lint format types docs benchmark clean $(BENCHMARKS)

help:
	@echo 'make demo        train a job-shop policy for two minutes, compare it, write a report'
	@echo 'make test        the tests (test-slow: the long ones; soak: faults, for hours)'
	@echo 'make lint        ruff (format: apply it); make types: mypy; make docs: the site'
	@echo 'make benchmark   all suites, baselines and policies (ARGS=--short: 15 minutes)'
	@echo 'make $(BENCHMARKS)' | sed 's/ benchmark/ | benchmark/2g'
	@echo 'make clean       remove .venv, caches and build products (runs/ and reports/ stay)'

# Installed again whenever the dependencies may have changed.
$(INSTALLED): pyproject.toml
	@$(or $(PYTHON),python3.11) -c $(RECENT) || { \
		echo 'makespan needs Python 3.11 or newer: install it, or name it with' \
			'make PYTHON=/path/to/python3.11'; exit 1; } >&2
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install $(TORCH)
	$(PIP) install --editable '.[test]'
	touch $@

demo: $(INSTALLED)
	rm -rf $(DEMO)
	$(BIN)/python train.py jobshop --lookahead atc --minutes $(DEMO_MINUTES) --out $(DEMO)
	$(BIN)/python evaluate.py jobshop --suite ta01-10 --time-limit 5 --out $(DEMO)/comparison \
		--policies pretrained:checkpoint=$(DEMO)/policy.safetensors \
		active/pilot nondelay/fdd-mwkr nondelay/mwkr nondelay/mor nondelay/spt cp-sat

test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES)

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

soak: $(INSTALLED)
	$(BIN)/python -m pytest -m soak --capture=no

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(INSTALLED)
	@mkdir -p .types && ln -sfn .. .types/makespan  # mypy finds `makespan` there
	$(BIN)/mypy

docs: $(VENV)/.docs
	@mkdir -p .types && ln -sfn .. .types/makespan  # mkdocstrings finds `makespan` there
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo 'build/site/index.html'

$(VENV)/.docs: $(INSTALLED)
	$(PIP) install --editable '.[docs]'
	touch $@

benchmark: benchmark-suite

$(BENCHMARKS): benchmark-%: $(INSTALLED)
	$(BIN)/python benchmarks/$(subst -,_,$*).py $(ARGS)

clean:
	rm -rf $(VENV) .types .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
