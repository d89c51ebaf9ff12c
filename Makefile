# `make` alone lists what there is. Only python3 (3.11 or newer) and make are assumed.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready

.PHONY: help setup run lint format test test-unit test-oracle test-clients test-cluster test-drills test-relay test-load test-chart test-ops tools \
        chaos mutants stack cluster lock docs monitoring bench bench-relay bench-cluster ci clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

setup: $(STAMP) ## make .venv with the locked dependencies

$(STAMP): requirements.lock pyproject.toml hatch_build.py $(wildcard ingest/repo/core/*.[ch])
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Headrace needs Python 3.11 or newer; found " + sys.version.split()[0] + ". Name another with: make PYTHON=python3.12 setup")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --allow-empty-requirements requirements.lock
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/uv pip install --quiet --python $(BIN)/python pip
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

run: setup ## start a whole network in one process, data in ./data
	@exec $(BIN)/headrace up --data data

lint: setup ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: setup ## let ruff lay out and mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: test-unit test-oracle test-clients test-cluster test-drills test-relay test-load test-chart test-ops ## every test

test-unit: setup ## units, contracts, vectors, views, scenarios
	$(BIN)/pytest -m 'not cluster' tests/unit tests/contracts tests/interop tests/views tests/scenarios

test-oracle: setup ## the independent model, and crashes at every named point
	$(BIN)/pytest -m 'not cluster' tests/oracle tests/chaos

test-cluster: setup ## the same river on Kafka and a CQL store
	$(BIN)/pytest -m 'cluster and not drill' tests/contracts tests/views tests/cluster tests/chaos

test-drills: setup ## what operators do to a cluster: upgrades, restores, relays, load, the chart's commands
	$(BIN)/pytest -m drill tests/cluster

tools: setup ## install the programs that tests use and that are no Python (Go, Debian, npm); else each test does
	$(BIN)/python -m tests.support.install

test-relay: setup ## other people's hosts: hostile networks, crashes, programs of others
	$(BIN)/pytest tests/relay

test-load: setup ## archives, synthesis, replay, readers, the shipped plans in short
	$(BIN)/pytest tests/load

test-chart: setup ## the Helm chart rendered, checked against Kubernetes' schemas; the image
	$(BIN)/pytest tests/chart

test-ops: setup ## alert rules by promtool and Prometheus, their runbooks, dashboards, and the metrics that these name
	$(BIN)/pytest tests/ops

chaos: setup ## the cluster's and the relay's faults, longer and more of them (SEED=N makes one run again)
	HEADRACE_CHAOS=long $(if $(SEED),HEADRACE_CHAOS_SEED=$(SEED)) $(BIN)/pytest -m cluster -s --timeout 3600 tests/chaos/cluster tests/cluster
	HEADRACE_CHAOS=long $(if $(SEED),HEADRACE_CHAOS_SEED=$(SEED)) $(BIN)/pytest -m chaos -s --timeout 3600 tests/relay

stack: setup ## a broker and a CQL store for development, until Ctrl-C; data in ./data/stack
	@exec $(BIN)/python -m tests.support.devstack start --foreground --data data/stack

cluster: setup ## a broker, a store and one process of each role, until Ctrl-C; data in ./data/cluster
	@exec $(BIN)/python -m tests.support.devstack.cluster --data data/cluster

test-clients: setup ## the official clients against `headrace up`
	$(BIN)/pytest tests/e2e

bench: setup ## print the table of docs/performance.md (JSON=FILE writes it too)
	$(BIN)/python -m tests.bench.run $(if $(JSON),--json $(JSON))

bench-relay: setup ## verification, serving and catch-up of the relay (JSON=FILE writes it too)
	$(BIN)/python -m tests.bench.relay $(if $(JSON),--json $(JSON))

bench-cluster: setup ## the cluster from commit to view, beside its store's and broker's limits (JSON=FILE writes it too)
	$(BIN)/python -m tests.bench.cluster $(if $(JSON),--json $(JSON))

mutants: setup ## seeded faults in delivery, order, counting and rebuild, each with the tests that must notice
	$(BIN)/python -m tests.mutants.run

docs: setup ## write docs/{settings,metrics,endpoints,views}.md from the code
	$(BIN)/python -m tests.support.docs

monitoring: setup ## write helm/rules and helm/dashboards from tests/support/monitoring
	$(BIN)/python -m tests.support.monitoring

lock: setup ## resolve pyproject.toml into requirements.lock, and what an image needs of it into requirements-runtime.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --extra tracing --group dev pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --constraint requirements.lock --extra tracing pyproject.toml --output-file requirements-runtime.lock

ci: ## what CI runs, part by part, against its time budget
	@HEADRACE_CI=1 $(PYTHON) .ci/parts.py

clean: ## remove the environment and caches (not ./data)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
