# make demo   creates ./.venv with what the verifier needs, and verifies a shipped model
# make test   the same with the tools for training and tests, then runs style checks and all tests
# make conformance  all of vnnlib-satisfactory against the command, a process for each test
# make docs   builds the API reference from the docstrings into ./site
# make regression  runs benchmarks/regression and compares with the results in the repository
# make clean  removes ./.venv, ./site and caches

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

DEMO_MODEL ?= onnx_models/digits_fc16.onnx
DEMO_QUERY ?= $(firstword $(sort $(wildcard specs/digits_fc16/2.0/vnnlib/*_linf_*.vnnlib)))

.PHONY: demo test check conformance docs regression clean

demo: $(VENV)/.installed
	$(BIN)/vnn-mondeq inspect $(DEMO_MODEL)
	$(BIN)/vnn-mondeq verify $(DEMO_QUERY) --network f=$(DEMO_MODEL) --timeout 60

test: check
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

conformance: $(VENV)/.installed-dev
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python tests/conformance/satisfactory.py $(BIN)/vnn-mondeq

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/reference.py site

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "vnn-mondeq needs Python 3.11 or newer; run: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev,train,report,sdp,dask]'
	touch $@ $(VENV)/.installed

regression: $(VENV)/.installed
	rm -rf build/regression
	$(BIN)/vnn-mondeq bench benchmarks/regression/instances.csv -o build/regression --backend auto,inductive,sdp,craft
	$(BIN)/vnn-mondeq bench-compare benchmarks/regression/results build/regression

clean:
	rm -rf $(VENV) site .pytest_cache .ruff_cache .hypothesis build *.egg-info
