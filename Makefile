# Every target makes its own environment from nothing but python3 and make.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help

QUICK_TESTS := tests/simulation/test_seeds.py tests/conformance tests/rpc tests/sqlite tests/cost tests/test_*.py

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.venv/.installed: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[server,otel]' --group dev
	@touch $@

serve: .venv/.installed  ## serve ./boards on 127.0.0.1:7447
	@exec $(BIN)/board serve ./boards

demo: .venv/.installed  ## run a real nebula end to end, with a live view
	@$(BIN)/python examples/demo.py

test: .venv/.installed  ## run the whole test suite
	$(BIN)/python -m pytest --numprocesses 4 --dist worksteal -m "not alone"
	$(BIN)/python -m pytest -m alone

quick: .venv/.installed  ## run the tests that start no process, in under a minute
	BOARD_SEEDS=6 $(BIN)/python -m pytest --numprocesses 4 --dist worksteal -m "not alone" $(QUICK_TESTS)

bench: .venv/.bench  ## measure everything: the table of docs/performance.md (QUICK=1: a smoke run)
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick,--out docs)

bench-engine: .venv/.bench  ## compare gRPC's engines, with two equal servers as a control
	$(BIN)/python -m benchmarks --engine --repeats 15

.venv/.bench: .venv/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[server,bench]'
	@touch $@

soak: .venv/.installed  ## run the tests of crashes, disks, networks and load for hours
	BOARD_SOAK=1 $(BIN)/python -m pytest --timeout 7200 tests/faults tests/maintenance tests/model tests/simulation

lint: .venv/.installed  ## check style, types, and the proto
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy examples
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	@if command -v go >/dev/null; then cd go && test -z "$$(gofmt -l .)" && go vet ./...; \
	else echo "no Go here: the Go code was not checked"; fi

format: .venv/.installed  ## format the code and the proto
	$(BIN)/ruff check --fix --exit-zero --quiet
	$(BIN)/ruff format
	$(BIN)/buf format --write

generate: .venv/.installed  ## make the generated code again from the proto
	$(BIN)/python scripts/generate.py

check: lint test  ## what CI runs

clean:  ## remove what the other targets made
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: help serve demo test quick soak bench bench-engine lint format generate check clean
