# make demo, make test: each makes its own environment. Needs Python 3.11 or newer and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
# A process a core, four at most; the slow tests take up to 8 GB each.
PARALLEL := -n auto --maxprocesses 4 --dist worksteal
export RAY_USAGE_STATS_ENABLED := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-all fuzz check bench format clean

demo: $(STAMP)
	$(BIN)/nas demo $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow" $(ARGS)

test-all: $(STAMP)
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

# Every kind of file from strangers, mutated 338,000 times in all: 20 minutes on two cores that do nothing else.
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzzing all --jobs 2 $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

bench: $(STAMP)
	$(BIN)/python tests/benchmarks/run.py $(ARGS)

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The environment, made anew when what it is made from changes.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) runs build *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
