# Everything that a person or CI starts here. `make` alone lists the targets.
# Values that are given, such as `make diagnose HOST=dgx`, reach the shell as environment variables only, so quotes and
# spaces in them are data.

PYTHON3 ?= python3
NOTEBOOK := notebooks/diagnose.ipynb
# What takes longest comes first.
NOTEBOOKS := notebooks/dataloader.ipynb $(NOTEBOOK) notebooks/devices.ipynb notebooks/explain.ipynb notebooks/estimate.ipynb \
    notebooks/compat.ipynb notebooks/monitor.ipynb notebooks/audit.ipynb notebooks/compare.ipynb
RUN := .venv/bin/python -m
# Processes that share the tests. OpenMP's threads spin while they wait, which takes the cores from the other process.
TEST_WORKERS ?= 2
PYTEST = OMP_WAIT_POLICY=passive $(RUN) pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder
# Files that say what .venv holds: hwdiag and torch, and the test tools too.
READY := .venv/ready
TESTING := .venv/ready-to-test

# tcsh and some distributions export HOST, the name of the machine, to everybody: nobody chose a profile by that.
ifeq ($(origin HOST),environment)
ifeq ($(HOST),$(shell uname -n))
HOST :=
endif
endif
export CHOSEN_HOST := $(value HOST)
export CHOSEN_BUDGET := $(value BUDGET)
export CHOSEN_PYTHON := $(value PYTHON)
export CHOSEN_PYTHON3 := $(value PYTHON3)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup setup-test diagnose lab test test-long test-vm lint pytest nbval docs bench constraints packages clean

help: ## list the targets
	@echo 'make TARGET [NAME=VALUE ...]'
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile
	@echo 'PYTHON3=/path/to/python3 makes .venv with another Python (3.10 or newer).'

setup: $(READY) ## install hwdiag and torch into .venv (the other targets do it when needed)

setup-test: $(TESTING) ## install the test tools too

diagnose: $(READY) ## diagnose this host [HOST=dgx BUDGET=quick|standard|thorough PYTHON=/path/to/venv/bin/python]
	@.venv/bin/hwdiag diagnose $${CHOSEN_HOST:+--host="$$CHOSEN_HOST"} \
	    $${CHOSEN_BUDGET:+--budget="$$CHOSEN_BUDGET"} $${CHOSEN_PYTHON:+--python="$$CHOSEN_PYTHON"}

# Runs are of copies, so that a run leaves the checkout as it is. EDIT=1 opens the notebooks themselves.
lab: $(READY) ## open the workbook in JupyterLab [EDIT=1 LAB_ARGS="--no-browser --port=8890"]
	@mkdir -p outputs/notebooks && cp -u notebooks/*.ipynb outputs/notebooks/
	$(RUN) jupyterlab --ServerApp.ip=127.0.0.1 \
	    --LabApp.default_url=/lab/tree/$(if $(EDIT),,outputs/)$(NOTEBOOK) $(LAB_ARGS)

test: lint pytest nbval docs ## every test: lint, pytest, nbval and docs

test-long: $(TESTING) ## the tests that take a minute or more each
	$(RUN) pytest -m long

test-vm: $(TESTING) ## the tests in virtual guests, the long ones too (Debian, root)
	$(RUN) pytest -m 'vm or vm_long'

lint: $(TESTING) ## ruff and mypy
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy

pytest: $(TESTING) ## the tests under tests/, in TEST_WORKERS processes
	$(PYTEST)

# The notebooks twice: replayed from the recorded example with their outputs compared, and live, where nothing may fail.
nbval: $(TESTING) ## run the notebooks, replayed and live, in TEST_WORKERS processes
	HWDIAG_REPLAY="$$PWD/outputs/example/record.json" \
	    $(PYTEST) --nbval --nbval-current-env --nbval-sanitize-with tests/nbval.cfg $(NOTEBOOKS)
	HWDIAG_BUDGET=quick HWDIAG_MINUTES=0.6 $(PYTEST) --nbval-lax --nbval-current-env $(NOTEBOOKS)

docs: $(TESTING) ## build the documentation's site in build/docs; a warning fails it
	$(RUN) sphinx -q -W --keep-going -c docs . build/docs

bench: $(READY) ## hwdiag's own costs and ceilings, as a table
	$(RUN) benchmarks.bench

constraints: ## pin the newest versions in constraints.txt (needs uv)
	tools/constraints.sh

packages: ## apt-get install what the tests use where it is there (Debian and Ubuntu)
	tools/debian-packages.sh

clean: ## remove .venv and everything that was built (never outputs/)
	rm -rf .venv build dist ./*.egg-info .pytest_cache .ruff_cache .mypy_cache .coverage
	find . -name .git -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	@tools/make-venv.sh "$$CHOSEN_PYTHON3"

$(TESTING): pyproject.toml constraints.txt
	@tools/make-venv.sh "$$CHOSEN_PYTHON3" test
