# Needs Python 3.11 or newer, pip, make and git; everything else comes from PyPI into .venv.
PYTHON ?= python3
BIN := .venv/bin
COMPAT := ../shared/compat/run

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-unit test-faults test-slow lint format bench compat lock clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: .venv/.ready ## make .venv with everything in it

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"skybus needs Python 3.11 or newer, this is {v[0]}.{v[1]}: make PYTHON=python3.11")'
	@echo "setting up .venv ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q services shared # as pip does for what is not editable: each start is quicker
	@touch $@

demo: setup ## run the main job once, start to end
	@$(BIN)/skybus demo

up: setup ## run the whole stack here until Ctrl-C
	@$(BIN)/skybus up

# Tests of a module share what it sets up, so a module stays in one process (pytest-xdist 3.8 cannot group with pytest 9.2).
test: setup ## run the unit, integration and system tests, two modules at a time
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-unit: setup ## run the unit tests alone
	@$(BIN)/python -m pytest tests/unit -n 2 --dist loadfile

test-faults: setup ## kill and stop servers and services, in up to 20 minutes
	@$(BIN)/python -m pytest -m "faults and not slow"

test-slow: setup ## run the long forms: every crash point, hundreds of faults, random sequences, an hour of plans, load, attacks
	@$(BIN)/python -m pytest -m "slow or hypothesis" --hypothesis-profile=random

lint: setup ## ruff, pyright and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports

format: setup ## let ruff tidy the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup ## measure skybus and the reference side by side
	@$(BIN)/python benchmarks/run.py

compat: setup ## run the reference's own tests against skybus
	@$(COMPAT) $(ARGS)

lock: ## pin the dependencies anew (needs uv)
	uv pip compile --quiet --universal --no-emit-index-url --upgrade pyproject.toml --extra all --group dev -o requirements.lock

clean: ## remove .venv and caches
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis dist build
