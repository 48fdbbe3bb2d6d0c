# Every target installs what it needs into $(VENV); it needs only python3 and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check
INSTALL := $(PIP) --constraint constraints.txt

.DEFAULT_GOAL := help

PYTEST := $(BIN)/python -m pytest
PARALLEL := --numprocesses 4 --dist worksteal -m "not alone and not lint and not smoke"
QUICK_TESTS := tests/simulation/test_seeds.py tests/conformance tests/rpc tests/sqlite tests/cost tests/test_*.py

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and sys.version.split()[0] \
	  + " is too old: install Python 3.11 or newer, or name one: make PYTHON=python3.11")'
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# The server and the `board` command.
$(VENV)/.server: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the server into $(VENV)"
	@$(INSTALL) --editable '.[cli,server]'
	@touch $@

# The server, and the tools for tests, lint and generated code.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the server and the development tools into $(VENV)"
	@$(PIP) --quiet --upgrade 'pip>=25.1'
	@$(INSTALL) --quiet --editable '.[cli,server,otel]' --group dev
	@touch $(VENV)/.server $@

serve: $(VENV)/.server  ## serve ./boards on 127.0.0.1:7447
	@exec $(BIN)/board serve ./boards

demo: $(VENV)/.server  ## run a nebula with four workers, with a live view
	@$(BIN)/python examples/demo.py

test: $(VENV)/.installed  ## run the whole test suite
	$(PYTEST) $(PARALLEL)
	$(PYTEST) -m alone

quick: $(VENV)/.installed  ## run the tests that start no processes, in under a minute
	BOARD_SEEDS=6 $(PYTEST) $(PARALLEL) $(QUICK_TESTS)

wheel: $(VENV)/.installed  ## build the wheel in dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

smoke: $(VENV)/.installed  ## test the built wheel and the Go module outside of the checkout
	$(PYTEST) -m smoke tests/packaging tests/scripts

bench: $(VENV)/.bench  ## run all benchmarks and update docs/performance.md (QUICK=1: a short run)
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick,--out docs)

bench-engine: $(VENV)/.bench  ## compare gRPC's engines, with two identical servers as a control
	$(BIN)/python -m benchmarks --engine --repeats 15

$(VENV)/.bench: $(VENV)/.installed
	@$(INSTALL) --quiet --editable '.[cli,server,bench]'
	@touch $@

soak: $(VENV)/.installed  ## run the long tests of crashes, disks, networks and load, for hours
	BOARD_SOAK=1 $(PYTEST) --timeout 7200 tests/faults tests/maintenance tests/model tests/simulation

lint: $(VENV)/.installed  ## check style, types, and the proto
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy examples
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	scripts/breaking $(BIN)/buf
	@if command -v go >/dev/null; then cd go && test -z "$$(gofmt -l .)" && go vet ./... && cd examples && go vet ./...; \
	else echo "Go is not installed: the Go code was not checked"; fi

format: $(VENV)/.installed  ## format the code and the proto
	$(BIN)/ruff check --fix --exit-zero --quiet
	$(BIN)/ruff format
	$(BIN)/buf format --write

generate: $(VENV)/.installed  ## generate the stubs, BoardClient and the tables of docs/security.md
	$(BIN)/python scripts/generate.py

lock: $(VENV)/.installed  ## lock the newest versions of all packages in constraints.txt
	$(BIN)/python scripts/lock.py

release: $(VENV)/.installed  ## make a release: commit, tags and wheel (VERSION=0.2.0; pushes nothing)
	@$(BIN)/python scripts/release.py '$(VERSION)'

check: lint test  ## run lint and the whole test suite

clean:  ## remove environments and caches
	rm -rf .venv* .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: help serve demo test quick wheel smoke soak bench bench-engine lint format generate lock release check clean
