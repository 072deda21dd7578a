# Start with `make demo` and `make test`; `make help` lists all targets. Only make and a Python 3 must be installed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/ready
RUNS ?= runs
PORT ?= 6006
# Minutes of pretraining in the demo, and most minutes of its adaptation.
MINUTES ?= 2
ADAPT_MINUTES ?= 3
# Number of test processes; TensorFlow takes about 1 GB in each.
JOBS ?= 2
# Groups and flags of the recipe, see python -m tools.recipe --help.
RECIPE ?= main
# Folder of human corpora for the recipe, see docs/recipe.md; without it the source is synthetic speech.
CORPORA ?=
# Flags of the benchmark, see python -m tools.benchmark --help.
BENCHMARK ?=
UV ?= uv
AUDIT ?= pip-audit
# Flags of uv, such as --upgrade.
LOCK ?=
# Kinds and flags, see python -m tests.faults --help.
FAULTS ?=
# Environment of the documentation site, and the address at which it is served.
DOCS_ENV := build/docs/env
DOCS_PORT ?= 8000

.PHONY: help env demo data recipe benchmark test test-slow lint tensorboard docs docs-check docs-reference lock audit faults coverage clean
.DEFAULT_GOAL := help

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

env: $(STAMP)  ## create .venv with the stack that fits this machine

$(STAMP): requirements/classic.txt requirements/current.txt pyproject.toml setup.py tools/setup_env.py
	@command -v $(PYTHON) >/dev/null || { echo 'setup: no $(PYTHON) on PATH: install Python 3.10 (any glibc) or 3.11 to 3.13 (glibc >= 2.38), or pass PYTHON=/path/to/python3' >&2; exit 2; }
	@$(PYTHON) -m tools.setup_env --venv $(VENV)

demo: $(STAMP)  ## pretrain for 2 minutes, then adapt the model of the project to a game's dialogue; print the results
	@$(BIN)/python -m tools.demo --minutes=$(MINUTES) --adapt_minutes=$(ADAPT_MINUTES)

data: $(STAMP)  ## only prepare the demo data
	@$(BIN)/python -m tools.demo --data_only

recipe: $(STAMP)  ## train the three stages and the baselines, write the results; RECIPE=--quick: a smoke run
	@$(BIN)/python -m tools.recipe $(RECIPE) $(if $(CORPORA),--corpora=$(CORPORA))
	@$(BIN)/python -m tools.results pages

benchmark: $(STAMP)  ## measure against other toolkits, docs/results/benchmark.json; BENCHMARK=--help: its flags
	@$(BIN)/python -m tools.benchmark $(BENCHMARK)
	@$(BIN)/python -m tools.results pages

test: $(STAMP)  ## run all tests except the slow ones
	$(BIN)/python -m pytest tests -q -m 'not slow' -n $(JOBS) --dist loadfile --no-loadscope-reorder

test-slow: $(STAMP) build/docs/ready  ## run the slow tests: clusters, kills, the commands of the pages, notebooks, the wheel
	@# One process more: jobs of clusters wait for one another, and tests for servers and browsers.
	$(BIN)/python -m pytest tests -q -m slow -n $$(($(JOBS) + 1)) --dist loadfile --no-loadscope-reorder

lint: $(STAMP)  ## run ruff (lint and format) and mypy as configured in pyproject.toml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

tensorboard: $(STAMP)  ## start TensorBoard on the runs, http://localhost:6006; RUNS=DIR and PORT=N change folder and port
	@test -d $(RUNS) || { echo 'tensorboard: no $(RUNS)/ here: train first (make demo), or pass RUNS=DIR' >&2; exit 2; }
	$(BIN)/tensorboard --logdir $(RUNS) --port $(PORT)

docs: build/docs/ready docs-reference  ## serve the documentation site, http://localhost:8000; DOCS_PORT=N: another port
	NO_MKDOCS_2_WARNING=1 $(DOCS_ENV)/bin/mkdocs serve -q --dev-addr localhost:$(DOCS_PORT)

docs-check: build/docs/ready docs-reference  ## build the documentation site, build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(DOCS_ENV)/bin/mkdocs build --strict -q
	@echo 'docs: build/site/index.html'

docs-reference: $(STAMP)
	@$(BIN)/python -m tools.docs_site.reference --output=build/docs/reference

build/docs/ready: requirements/docs.txt $(STAMP)
	$(BIN)/python -m venv --clear $(DOCS_ENV)
	$(DOCS_ENV)/bin/pip install -q --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r requirements/docs.txt
	@# Notebooks run in it, too: it sees the packages of .venv behind its own.
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' \
	  > $$($(DOCS_ENV)/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/stack.pth
	@touch $@

lock: requirements.txt requirements/dev.txt requirements/overrides.txt requirements/docs.in  ## update the locks, with hashes (needs uv: pip install uv); LOCK=--upgrade: newer versions
	$(UV) pip compile -q $(LOCK) requirements.txt requirements/dev.txt --overrides requirements/overrides.txt --only-binary :all: --generate-hashes \
	  --no-header --no-annotate --python-version 3.10 --python-platform x86_64-manylinux_2_28 -o requirements/classic.txt
	$(UV) pip compile -q $(LOCK) requirements.txt requirements/dev.txt --overrides requirements/overrides.txt --only-binary :all: --generate-hashes \
	  --no-header --no-annotate --universal --python-version 3.11 -o requirements/current.txt
	$(UV) pip compile -q $(LOCK) requirements/docs.in --only-binary :all: --generate-hashes --no-header --no-annotate --universal --python-version 3.10 \
	  -o requirements/docs.txt
	sed -i -E "s/ and implementation_name == 'cpython' and platform_machine == 'x86_64'( and platform_python_implementation != 'PyPy')? and sys_platform == 'linux'//; \
	  s/( ;| and) python_full_version < '3.14'( \\\\)?\$$/\2/" requirements/current.txt

audit: $(STAMP)  ## check both locks for known vulnerabilities (needs pip-audit: pip install pip-audit, and the network)
	@for lock in classic current; do echo "$$lock:"; $(AUDIT) --strict --no-deps --disable-pip -r requirements/$$lock.txt || failed=1; done; test -z "$$failed"

faults: $(STAMP)  ## inject all kinds of faults, docs/results/faults.json; FAULTS='--fast records': only some
	@$(BIN)/python -m tests.faults $(FAULTS); code=$$?; $(BIN)/python -m tools.results pages && exit $$code

coverage: $(STAMP)  ## measure the test coverage, including all processes that tests start; build/coverage
	rm -rf build/coverage
	$(BIN)/python -m coverage run -m pytest tests -q -n $(JOBS) --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report --show-missing --skip-covered

clean:  ## remove the environment and caches; keep runs and data
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
