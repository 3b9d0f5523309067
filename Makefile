# make demo: the whole path on simulated data, ending with demo/report.html
# make test: lint, types and all tests, on TensorFlow and on JAX
# make quick: lint, types and the tests that compile no model and start no server, in a few minutes
# Each sets up .venv first; they need python3 (3.11 to 3.13, with venv) and make.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# What nobody imports needs no compiling; Python compiles the rest as it is imported.
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile
# Processes that share the tests. Each takes the tests of half the files, and when it is done, some of the other's.
WORKERS ?= 2
# Processes of the tests on JAX, beside those: where one waits, for a disk or a server of its own, another computes.
JAX_WORKERS ?= 1
PYTEST := $(BIN)/python -m pytest -q --dist worksteal --durations 30 --durations-min 1

.PHONY: demo test test-tensorflow test-jax quick lint clean

demo: $(VENV)/installed
	PATH="$(abspath $(BIN)):$$PATH" examples/demo/run.sh demo

test: $(VENV)/installed-test
	$(MAKE) --no-print-directory --jobs 3 lint test-tensorflow test-jax

test-tensorflow: $(VENV)/installed-test
	$(PYTEST) -n $(WORKERS)

# Only the rooms that compute with a backend. What it says comes in one piece when it has ended.
test-jax: $(VENV)/installed-test
	KERAS_BACKEND=jax $(PYTEST) -n $(JAX_WORKERS) -m backend $(addprefix --ignore tests/,db_ingest examples real) \
	    > $(VENV)/jax.log 2>&1; status=$$?; cat $(VENV)/jax.log; exit $$status

quick: $(VENV)/installed-test lint
	$(PYTEST) -n $(WORKERS) -m "not slow and not real and not backend" --hypothesis-profile quick \
	    $(addprefix --ignore tests/,e2e examples kerasgen/training kerasgen/track_models)

lint: $(VENV)/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "kerasgen needs Python 3.11 to 3.13; set PYTHON=... to one")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(PIP_INSTALL) --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
