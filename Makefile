# `make help` explains. Everything that runs leaves its files in .venv/ and var/ only.
.DEFAULT_GOAL := help
SHELL := /bin/bash
# The first of these that runs and can make a virtual environment; or say make PYTHON=/path/to/it.
GOOD := import ensurepip, sys, venv; sys.exit(not (3, 11, 2) <= sys.version_info < (3, 14))
ifndef PYTHON
PYTHON := $(shell for name in python3.11 python3.12 python3.13 python3; do \
  $$name -c "$(GOOD)" 2>/dev/null && echo $$name && break; done)
endif
BIN := .venv/bin
UV_VERSION := 0.13.9
# uv reads UV_FIND_LINKS where pip reads PIP_FIND_LINKS: local wheels serve both.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export VIRTUAL_ENV := $(CURDIR)/.venv
# By the shell: make's own functions split a path at its spaces.
SCRIPTS := $(shell dirname -- "$(strip $(MAKEFILE_LIST))")/conf/compose
export NOCTURNE_HOME ?= $(CURDIR)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup demo test e2e chaos lint bench airflow secrets backup restore compose-check lock clean

help: ## Say what each target does
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: python java $(BIN)/.installed ## Make the environment .venv from the lock

demo: setup ## Score one day of real flights through the Airflow DAG
	@python -m nocturne.demo prepare
	@python -m nocturne_airflow.demo

airflow: setup ## Start Airflow and MLflow with the demo, at localhost (PORT=, MLFLOW_PORT=); Ctrl-C ends all of it
	@python -m nocturne.demo prepare
	@python -m nocturne_airflow.local $(if $(PORT),--port $(PORT)) $(if $(MLFLOW_PORT),--mlflow-port $(MLFLOW_PORT))

test: setup ## Run the tests, with a real scheduler, Spark and MLflow (8 minutes on two cores)
	@python -m pytest -q -n 2 --dist loadfile -m "not long"

e2e: setup $(BIN)/.strangers ## Run the long tests: a week each way, the page, the stack of Compose, models of every library
	@NOCTURNE_E2E_DAYS=7 python -m pytest -q -n 2 --dist loadfile -m "e2e or long" --ignore=tests/chaos
	@python -m pytest -q tests/strangers/test_categories.py

chaos: setup ## Kill it at every step and at 500 random moments, fuzz what it reads (hours)
	@NOCTURNE_CHAOS=220 python -m pytest -q --no-header -n 2 --dist load tests/chaos tests/pipeline/test_place.py

lint: setup ## ruff, mypy strict and the rooms' contract
	@ruff check .
	@ruff format --check .
	@mypy
	@lint-imports

bench: setup ## Measure against the other engines on this machine's CPU (hours: docs/benchmarks.md)
	@python -m benchmarks

secrets: ## Make .env and secrets/ for Docker Compose (docs/compose.md)
	@"$(SCRIPTS)/secrets.sh"

backup: ## Write the databases, the object store and the scores of the Compose stack to backups/
	@"$(SCRIPTS)/backup.sh"

restore: ## Put a backup into an empty Compose stack (BACKUP=backups/TIME)
	@"$(SCRIPTS)/restore.sh" "$(BACKUP)"

compose-check: setup ## Run the Compose stack from nothing on this machine's Docker engine, and kill its parts (MORE=1)
	@PYTHONPATH=tests python -m compose.check $(if $(MORE),--more)

# For Linux and the Pythons of pyproject.toml in one: what only some of them need has a marker.
EXTRAS := alerts celery delta iceberg lineage metrics s3 signing stores demo postgres
COMPILE := UV_FIND_LINKS= uv pip compile pyproject.toml --universal --python-version 3.11 \
  --no-emit-index-url --no-emit-find-links --no-annotate --no-header -q
KEPT := sed -E -e '/^(nvidia-|cuda-|triton)/d' -e "s/ and implementation_name == 'cpython'.*//" \
  -e "s/ ; python_full_version < '3\.14'$$//"

# requirements.lock is what runs, tests/requirements.lock what development needs beside it.
lock: ## Resolve the versions anew into the three requirements.lock (names and versions only)
	@printf 'pyspark-client\n' > .excludes.tmp
	@$(COMPILE) --excludes .excludes.tmp $(EXTRAS:%=--extra %) --extra dev -o .lock.tmp
	@$(KEPT) .lock.tmp > .all.tmp
	@$(COMPILE) --excludes .excludes.tmp $(EXTRAS:%=--extra %) -c .all.tmp -o .lock.tmp
	@$(KEPT) .lock.tmp > requirements.lock
	@grep -vxFf requirements.lock .all.tmp > tests/requirements.lock
	@$(COMPILE) --excludes .excludes.tmp --extra strangers -c .all.tmp -o .lock.tmp
	@$(KEPT) .lock.tmp | grep -vxFf .all.tmp > tests/strangers/requirements.lock
	@rm -f .excludes.tmp .lock.tmp .all.tmp

clean: ## Remove the environment and everything that runs left behind
	rm -rf .venv var

.PHONY: python java
python:
	@test -n "$(PYTHON)" && $(PYTHON) -c "$(GOOD)" 2>/dev/null || \
	  { echo "nocturne: found no Python 3.11 (.2 or later), 3.12 or 3.13 that can make a virtual" \
	  "environment$(if $(PYTHON), (tried $(PYTHON))). On Debian or Ubuntu: apt-get install python3" \
	  "python3-venv; with uv: uv python install 3.12, then make PYTHON=\$$(uv python find 3.12)" >&2; \
	  exit 1; }

java: python
	@$(PYTHON) jobs/nocturne/host/java.py --install

# Compiled once here: where Python may not write bytecode, every start would compile it anew.
# torch is the one package installed with its dependencies: which ones it needs (CUDA's, or
# none) depends on the build that the machine is given. All others come from the lock alone,
# without dependencies, so that pyspark-client stays out.
$(BIN)/.installed: requirements.lock tests/requirements.lock pyproject.toml
	@echo "setup: the environment .venv of $$($(PYTHON) --version), once; some minutes"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "setup: uv $(UV_VERSION), which installs the rest"
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	@cat requirements.lock tests/requirements.lock | grep -v '^torch==' > .venv/lock-without-torch.txt
	@echo "setup: $$(wc -l < .venv/lock-without-torch.txt) packages of requirements.lock and tests/requirements.lock"
	@uv pip install -q --compile-bytecode --no-deps -r .venv/lock-without-torch.txt
	@echo "setup: $$(grep '^torch==' requirements.lock), gigabytes with CUDA (README: CPU-only machines)"
	@uv pip install -q --compile-bytecode -c requirements.lock "$$(grep '^torch==' requirements.lock)"
	@echo "setup: nocturne itself"
	@uv pip install -q --no-deps --no-build-isolation -e .
	@touch $@

# The libraries of other people's models, which no run of ours needs.
$(BIN)/.strangers: tests/strangers/requirements.lock $(BIN)/.installed
	@echo "setup: $$(wc -l < $<) packages of $<"
	@uv pip install -q --compile-bytecode --no-deps -r $<
	@touch $@
