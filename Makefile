PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install demo check test bench load clean

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

install: .venv/.installed ## Make .venv with odqa, editable, and all that its tests need

.venv/.installed: pyproject.toml .constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint .constraints.txt --editable ".[cpu,dev]"
	@touch $@

demo: install ## Build the bundled index and answer two questions
	@$(BIN)/odqa index info squad2-dev >/dev/null 2>&1 || $(BIN)/odqa index build squad2-dev --replace
	$(BIN)/odqa ask "In what country is Normandy located?"
	$(BIN)/odqa ask "What is France a region of?"

check: install ## Lint, format, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: install ## Run the tests
	$(BIN)/pytest -n auto

bench: demo ## Measure speed, a quick set
	$(BIN)/odqa bench embed
	$(BIN)/odqa bench search
	$(BIN)/odqa bench read
	$(BIN)/odqa bench forward
	$(BIN)/odqa bench ask
	$(BIN)/odqa bench index --passages 100000

load: demo ## Put the service under load, with micro-batching and without
	$(BIN)/odqa bench serve --clients 1 --clients 8 --clients 32 --clients 128 --seconds 20 --compare

clean: ## Remove all that can be made again, built indexes excepted
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
