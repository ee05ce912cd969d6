# The commands of the README. Everything is set up in .venv: what `diptych` needs with the versions of constraints.txt,
# and what developers need with those of constraints-dev.txt, which has all of the first as well.

# The first Python that is new enough; `make PYTHON=...` chooses another.
PYTHON ?= $(shell for python in python3 python3.12 python3.13 python3.11 python; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& { echo $$python; break; }; done)
VENV := .venv
READY := $(VENV)/.ready
READY_TORCH := $(VENV)/.ready-torch
READY_DEV := $(VENV)/.ready-dev

# Processes that test side by side; each may hold two frameworks, some 2 GB.
WORKERS ?= 2

# Each computes in one thread. Two frameworks that each spread over all cores wait for each other:
# a training that takes a second alone then takes twenty.
ONE_THREAD := OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 NPROC=1

.DEFAULT_GOAL := help
.PHONY: help setup torch dev compare test test-all attack audit-suite soundness docs docs-build lint format constraints clean

help:  ## Show these lines
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(READY)  ## Set up .venv with pinned versions

$(READY): constraints.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "diptych needs Python 3.11, 3.12 or 3.13 on the path, or: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	@echo "Setting up $(VENV) (once, a minute or two)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

torch: $(READY_TORCH)  ## Set up PyTorch as well, for audits

# Without hashes: PyTorch comes with other libraries on every platform.
$(READY_TORCH): $(READY) pyproject.toml
	@echo "Setting up PyTorch in $(VENV) (once)"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@touch $@

dev: $(READY_DEV)  ## Set up the developers' tools as well, and all that is tested

$(READY_DEV): $(READY_TORCH) constraints-dev.txt
	@echo "Setting up the developers' tools in $(VENV) (once)"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints-dev.txt
	@touch $@

compare: setup  ## Train the article's network in TensorFlow and in Keras, and compare the two
	@$(VENV)/bin/diptych compare $(ARGUMENTS)

test: dev  ## Run the tests
	@$(ONE_THREAD) $(VENV)/bin/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(ARGUMENTS)

test-all: dev  ## Run the exhaustive tests as well: all pairs, all kills, all networks
	@$(ONE_THREAD) $(VENV)/bin/python -m pytest --numprocesses $(WORKERS) --dist worksteal -m "" $(ARGUMENTS)

attack: dev  ## Attack everything for half an hour and write docs/results/attacks.md
	@$(VENV)/bin/python bench/attacks $(ARGUMENTS)

audit-suite: dev  ## Audit all planted faults and write docs/results/planted-faults.md (an hour or so)
	@$(VENV)/bin/python tests/auditing/suite.py $(ARGUMENTS)

soundness: dev  ## Audit pairs that differ where it hides and write docs/results/soundness.md (an hour)
	@$(VENV)/bin/python tests/auditing/soundness/run_pairs.py $(ARGUMENTS)

docs: dev  ## Serve the documentation on http://127.0.0.1:8000
	@$(VENV)/bin/mkdocs serve --dev-addr 127.0.0.1:8000

docs-build: dev  ## Build the documentation, strictly, into build/site
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict

lint: dev  ## Check style and types
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/pyright

format: dev  ## Put the code into its format
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

LOCKED := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url

constraints:  ## Write the constraints anew, for what pyproject.toml asks for (needs uv; UPGRADE=--upgrade for newer versions)
	$(LOCKED) --extra look --extra serve --group compare --output-file constraints.txt $(UPGRADE)
	$(LOCKED) --extra docs --extra flax --extra look --extra serve --extra sklearn --extra study --extra tensorboard \
		--group dev --constraints constraints.txt --output-file constraints-dev.txt $(UPGRADE)

clean:  ## Remove .venv and what tools left behind; runs stay
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
