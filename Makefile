# Everything a newcomer needs: `make demo` runs the gateway, `make test` proves it.
PYTHON ?= python3
VENV   := .venv
STAMP  := $(VENV)/.set-up

.PHONY: help setup demo test lint lock clean

help:           ## what there is
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/\t/'

setup: $(STAMP) ## make .venv with everything in it

$(STAMP): pyproject.toml requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("fiona-dagster needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; name another with: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@echo "installing what requirements.txt names, a few hundred MB: that takes minutes, and nothing is said meanwhile"
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup     ## the hospital in a box and the gateway; ARGS=--once ends by itself
	$(VENV)/bin/fiona demo $(ARGS)

test: setup     ## the whole test suite; ARGS="tests/domain -k name" for a part
	$(VENV)/bin/python -m pytest $(ARGS)

lint: setup     ## style, types and the direction of imports
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

lock:           ## requirements.txt from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --extra dev --generate-hashes --no-emit-index-url --no-strip-extras --quiet -o requirements.txt pyproject.toml

clean:          ## what can be made again
	rm -rf $(VENV) .demo .pytest_cache .mypy_cache .ruff_cache build *.egg-info
