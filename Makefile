# Two commands do everything on a fresh machine: `make book` and `make test`.
PYTHON ?= python3
PROFILE ?= cpu
SET ?=
MINUTES ?=
BIN := .venv/bin

.PHONY: book test lint workshop lab clean

book: .venv/installed
	@$(BIN)/python -m selfprompt_lib run --profile $(PROFILE) \
	    $(if $(MINUTES),--minutes $(MINUTES)) $(SET)

# Three processes of one thread each: on two cores one computes while another waits for a server or
# a kernel. The other variables spare page faults in training, as `run` does for its kernels
# (selfprompt_lib/pipeline/notebooks.py).
test: .venv/installed
	@OMP_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=34359738368 \
	    $(BIN)/python -m pytest --numprocesses=3

workshop: .venv/installed
	@$(BIN)/python -m selfprompt_lib workshop

lab: workshop
	@$(BIN)/python -m jupyter lab workshop/learner

lint: .venv/installed
	@$(BIN)/ruff check .

# Twice quiet: pip tells errors, not warnings about its own version and settings.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet

.venv/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "Python 3.11 or newer is needed; set PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv, once: about 3 GB on disk, some minutes"
	@$(PIP) install --upgrade pip
	@$(PIP) install torch==2.13.0
	@$(PIP) install -r requirements.txt
	@touch $@

clean:
	rm -rf _build runs
