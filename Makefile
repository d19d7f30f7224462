# The everyday commands. Each makes .venv ready first, which takes minutes once and a moment afterwards.
# ARGS goes to the command: make test ARGS="-k aggregation -m 'not nemo'"
VENV ?= .venv
export VENV
BIN = $(VENV)/bin
SHELL_SCRIPTS = $$(git ls-files --cached --others --exclude-standard -- '*.sh' .ci/run)
.DEFAULT_GOAL = help
.PHONY: help setup quickstart test slurm-deps browser-deps client-deps test-slurm test-clients soak lint wheel lock audit licences

help:  ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup:  ## create or update .venv (TORCH=cuda for GPUs)
	@launchers/setup.sh

quickstart: setup  ## base model, data, two reward models, ExPO and evaluation, on this CPU
	$(BIN)/hs2pref quickstart $(ARGS)

test: setup  ## all tests but those of test-slurm and test-clients
	$(BIN)/python -m pytest -m "not slurm and not clients" $(ARGS)

slurm-deps:  ## Debian's SLURM, for test-slurm (as root, or with password-less sudo)
	tests/debian_packages.sh slurmctld slurmd slurm-client munge

browser-deps:  ## Debian's Chromium, in which tests open the report
	tests/debian_packages.sh chromium

client-deps:  ## .venv-clients with the newest transformers, TRL and RewardBench, for test-clients
	@launchers/clients.sh

test-slurm: setup  ## jobs on a SLURM of virtual nodes on this machine (as root)
	HS2PREF_REQUIRE_SLURM=1 $(BIN)/python -m pytest -m slurm $(ARGS)

test-clients: setup client-deps  ## what those make of exported models
	HS2PREF_REQUIRE_CLIENTS=1 $(BIN)/python -m pytest -m clients $(ARGS)

soak: setup  ## 100,000 damaged files, and runs that are killed at random (ARGS="--seed 7 --minutes 60")
	$(BIN)/python tests/soak/run.py $(ARGS)

lint: setup  ## ruff, pyright, shellcheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/shellcheck $(SHELL_SCRIPTS)

wheel: setup  ## dist/nemo_hs2pref-*.whl
	$(BIN)/python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist .

lock:  ## launchers/locks: hashes of what constraints.txt names
	@launchers/lock.sh

audit:  ## known vulnerabilities of what constraints.txt names
	@launchers/audit.sh

licences: setup  ## docs/licences.md, from the installed packages
	$(BIN)/python launchers/licences.py
