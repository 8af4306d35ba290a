# 'make help' lists what can be done here. Everything runs in .venv, which is made when needed.

PYTHON ?= python3
PY := .venv/bin/python
PYTEST := $(PY) -m pytest
# More arguments for pytest, for example: make test PYTEST_ARGS='-k crawl'
PYTEST_ARGS ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test check format lock screenshots venv venv-runtime services test-sqlite test-postgres test-faults test-races bench clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name text; do \
		printf '  make %-14s %s\n' "$$name" "$$text"; done

run: venv-runtime ## Serve the example at http://127.0.0.1:8000/ (PORT=…) with a worker
	@exec $(PY) -m jobcontrol_site.launch

test: venv services ## Check the code, then run the whole suite on SQLite and on PostgreSQL
	@$(MAKE) --no-print-directory check
	@$(PY) tools/run_suites.py $(PYTEST_ARGS)

test-sqlite: venv ## Run the suite on SQLite
	JOBCONTROL_TEST_DB=sqlite $(PYTEST) $(PYTEST_ARGS)

test-postgres: venv ## Run the tests that use a database on PostgreSQL
	JOBCONTROL_TEST_DB=postgres $(PYTEST) tests/integration tests/process $(PYTEST_ARGS)

test-faults: venv services ## Kill and stop everything, with 200 builds queued; prints the table
	JOBCONTROL_FAULTS=full JOBCONTROL_TEST_DB=postgres $(PYTEST) tests/process/test_faults.py $(PYTEST_ARGS)

test-races: venv ## Let two things happen at once, 1,000 times each, and the promises' state machine
	JOBCONTROL_RACES=1000 JOBCONTROL_EXAMPLES=100 JOBCONTROL_TEST_DB=postgres $(PYTEST) \
		tests/integration/running/test_races.py tests/integration/running/test_state_machine.py $(PYTEST_ARGS)

bench: ## Measure against the peers; prints the table (ARGS='--quick', '--only drain,latency', …)
	@$(PYTHON) tools/make_venv.py bench
	@$(PY) benchmarks/table.py $(ARGS)

check: venv ## Lint, check types, import rules, migrations and Django's own checks
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'
	$(PY) tools/check_site.py

format: venv ## Format the code and mend what can be mended
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

lock: venv ## Make requirements/*.txt anew from pyproject.toml (ARGS=--upgrade for newer versions)
	$(PY) tools/lock.py $(ARGS)

screenshots: venv ## Take the pictures of the guide (docs/images) and of all pages (screenshots)
	$(PY) tools/screenshots.py

venv: ## Make .venv for work on the code
	@$(PYTHON) tools/make_venv.py dev

venv-runtime: ## Make .venv for running only
	@$(PYTHON) tools/make_venv.py runtime

services:
	@$(PYTHON) tools/test_services.py

clean: ## Remove .venv and caches
	rm -rf .venv .venv.lock .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build *.egg-info
