# Everything installs itself into .venv; PYTHON=/path/to/python3.12 chooses another interpreter for it.

made := $(wildcard .venv/.python-*)
PYTHON ?= $(if $(made),.venv/bin/python,python3)
PYTEST ?= -n auto --dist loadfile

version := $(shell "$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
minor := $(if $(filter 3.%,$(version)),$(patsubst 3.%,%,$(version)),0)
fresh := .venv/.python-$(version)
bin := .venv/bin
pip := $(bin)/python -m pip install --no-compile -c constraints.txt
# --no-compile: what is imported is compiled then, once, and most never is
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint format docs notebooks install
.DEFAULT_GOAL := help

help:  ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: .venv/.package  ## generate data, train FOCAL and FOCAL++, write the report
	$(bin)/bench demo

test: lint  ## lint, types and tests; PYTEST='-k gym' passes other arguments to pytest
	$(bin)/python -m pytest $(PYTEST)

lint: install  ## ruff and mypy
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy

format: install  ## let ruff rewrite the files
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

docs: .venv/.docs  ## the documentation as a site in site/; read it with python3 -m http.server -d site
	NO_MKDOCS_2_WARNING=1 $(bin)/python -m mkdocs build --strict

notebooks: .venv/.docs  ## execute the notebooks of docs/ again, in place
	PATH="$(abspath $(bin)):$$PATH" $(bin)/python -m jupyter nbconvert --to notebook --inplace --execute \
	    --ExecutePreprocessor.record_timing=False docs/notebooks/*.ipynb

install: .venv/.installed  ## make .venv with the tested versions

.venv/.docs: .venv/.installed
	$(pip) -q -e '.[docs]'
	@touch $@

.venv/.installed: .venv/.package
	$(pip) -e '.[dev]'
	@touch $@

.venv/.package: .venv/.torch pyproject.toml
	$(pip) -e .
	@touch $@

.venv/.torch: $(fresh) constraints.txt
	$(pip) torch
	@touch $@

$(fresh):
	@if [ -z "$(version)" ]; then \
	    echo "There is no Python at $(PYTHON); choose one with: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; \
	    exit 2; \
	fi
	@if [ "$(minor)" -lt 11 ]; then \
	    echo "COMRL-Bench needs Python 3.11 or newer and $(PYTHON) is $(version); choose another with:" \
	         "make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; \
	    exit 2; \
	fi
	@if [ "$(minor)" -gt 13 ]; then \
	    echo "Warning: COMRL-Bench is made for Python 3.11 to 3.13 and $(PYTHON) is $(version)." >&2; \
	fi
	"$(PYTHON)" -m venv --clear .venv
	@touch $@
