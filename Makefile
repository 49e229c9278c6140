# make demo: install and see a sweep. make test: install and see every test pass.
PYTHON ?= python3.11
BIN := .venv/bin
# MLflow's UI asks its makers' server for a configuration unless it is told not to.
export MLFLOW_DISABLE_TELEMETRY ?= true
# One thread per process is fastest for small networks on few cores. Tests wait for processes of their
# own much of the time: three at once keep two cores busy.
JOBS ?= 3
# Which JupyterLab `make up` starts: cpu or gpu.
PROFILE ?= cpu
JUPYTER = $(if $(filter gpu,$(PROFILE)),jupyter-gpu,jupyter)

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-half-precision lint format ui notebooks screenshots results bench up down logs clean

help:  ## what each target does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 24

# pip is not quiet: it shows what it downloads, and how far it is.
PIP_INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing harnest into .venv: several minutes at first, most of them for torch, which is large."
	@echo "pip prints nothing while it unpacks what it has downloaded (\"Installing collected packages\")."
	$(PIP_INSTALL) '.[har]'
	touch $@

# Small: formatting, style and types need no test, notebook or launcher.
.venv/.installed-lint: .venv/.installed
	@echo "Installing the checkers: ruff, mypy and what mypy reads, import-linter."
	$(PIP_INSTALL) '.[lint]'
	touch $@

.venv/.installed-dev: .venv/.installed
	@echo "Installing what the tests need, JupyterLab and ray among it: a few minutes."
	$(PIP_INSTALL) '.[dev]'
	touch $@

demo: .venv/.installed  ## sweep 12 trials on the smart-watch recordings, minutes on two cores
	$(BIN)/harnest-train -m sweep=quick
	@echo
	@echo "These commands are in .venv. Activate it once in each terminal: source .venv/bin/activate"

test: .venv/.installed-dev  ## every test but the slow ones
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m 'not slow'

# ray allows its own start 30 s, which it exceeds where other tests keep the cores busy.
test-all: .venv/.installed-dev  ## every test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m 'not alone'
	$(BIN)/python -m pytest -m alone

# pytest fails where it finds no such test (exit code 5).
test-half-precision: .venv/.installed-dev  ## tests in half precision again, as on a CPU without AVX-512
	ONEDNN_MAX_CPU_ISA=AVX2 $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m half_precision

lint: .venv/.installed-lint  ## formatting, style, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.installed-lint  ## mend what can be mended by a program
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

ui: .venv/.installed  ## MLflow on this folder's runs, and optuna-dashboard where it is installed
	$(BIN)/harnest-ui

notebooks: .venv/.installed  ## JupyterLab on the notebooks, for this machine alone
	$(PIP_INSTALL) '.[notebooks]'
	$(BIN)/jupyter lab --ip 127.0.0.1 notebooks

screenshots: .venv/.installed  ## the README's pictures, after make demo; needs chromium
	$(BIN)/python docs/screenshots.py

# Passwords are the kernel's random numbers; what there is already stays.
.env:
	umask 077 && sed -E 's,^(\w+_(PASSWORD|KEY|TOKEN))=$$,cat /proc/sys/kernel/random/uuid | sed s/^/\1=/,e' \
		.env.example >$@.new && mv $@.new $@
	@echo "wrote .env, with passwords of its own"

up: .env  ## start the servers of docs/stack.md; PROFILE=gpu gives JupyterLab the GPUs
	docker compose up --build --detach --wait database mlflow dashboard $(JUPYTER)

down: .env  ## stop the stack; what it holds stays
	docker compose --profile '*' down

logs: .env  ## what the stack's servers say, as they say it; Ctrl-C ends it
	docker compose --profile '*' logs --follow

results: .venv/.installed  ## the tables of docs/results.md: hours; HAPT=FILE, its zip file, for those of HAPT
	$(BIN)/python benchmarks/results.py $(if $(HAPT),--hapt "$(HAPT)")

bench: .venv/.installed-dev  ## measure the table of docs/performance.md, an hour on an idle machine; HAPT=FILE as above
	HAPT="$(HAPT)" $(BIN)/python benchmarks/table.py

clean:  ## remove what can be made again: environment, caches, builds; results stay
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
