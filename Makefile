# Everything that is done with this repository from a shell. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
export PYTHON
PY := .venv/bin/python
# The rehearsal's servers need root: sudo where we are somebody else (rehearsal says so before it asks).
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: help
help: ## this list
	@echo "Slipway: a Rails application on AWS in one execution of a state machine"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## the virtual environment .venv, as pinned (quick when nothing changed)
	@tools/setup.sh

.PHONY: rehearse
rehearse: setup ## the first release on this machine, from nothing to HTTPS, then everything down again
	@$(PY) -m rehearsal rehearse

.PHONY: region
region: setup ## starts the region on this machine, keeps it up, and prints how to talk to it
	@$(PY) -m rehearsal up

.PHONY: region-down
region-down: setup ## ends the region
	@$(PY) -m rehearsal down

.PHONY: test
test: ## everything a reviewer runs: lint, unit, contract, browser, workflow, rehearsal
	@tools/test.sh

.PHONY: lint
lint: setup ## ruff, mypy --strict, cfn-lint, checkov, shellcheck
	@tools/lint.sh

.PHONY: bench
bench: setup ## the numbers of this release, measured on this machine
	@$(PY) -m bench

.PHONY: clean
clean: region-down ## ends the region and removes what was built, the servers' image too
	rm -rf .rehearsal .aws-sam .mypy_cache .ruff_cache .pytest_cache
