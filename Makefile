# Everything a fresh machine needs is Python >= 3.11, make and pip.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# Processes that `make test` runs tests in; 0: its own alone.
WORKERS ?= 2

.PHONY: setup setup-services sweep test chaos check bench format clean

setup: $(STAMP)

$(STAMP): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "orch needs Python >= 3.11, and $(PYTHON) is " + sys.version.split()[0] + "; say PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --quiet --constraint constraints.txt --editable '.[standin,s3,postgres,mlflow-auth,infra,hdf5,faces,dev]'
	@touch $(STAMP)

# Debian packages of servers and tools, for `make chaos` alone; what cannot be installed, its tests do without.
setup-services:
	@SERVICES=$(SERVICES) sh .ci/services.sh

sweep: setup
	$(BIN)/orch sweep cmd-meld

test: setup
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

chaos: setup setup-services
	$(BIN)/python -m pytest tests/chaos

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup
	$(BIN)/python -m pytest -s tests/benchmarks

clean:
	rm -rf .venv
