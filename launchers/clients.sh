#!/usr/bin/env bash
# Makes .venv-clients, in which tests/clients loads exported models: the newest transformers and TRL, at the versions of
# tests/clients/constraints.txt. RewardBench asks for an older transformers, and lies in a folder of its own there, which
# is put before the packages of .venv.
# usage: [PYTHON=python3.11] launchers/clients.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
TORCH=cpu PYTHON=${PYTHON:-python3.11} VENV=.venv-clients CONSTRAINTS=tests/clients/constraints.txt SIZE="1.5 GB"
REWARDBENCH=tests/clients/rewardbench.txt
# shellcheck source=environment.sh
source launchers/environment.sh

make_ready() {
  phase "installing transformers and TRL"
  pip_install transformers trl
  phase "installing RewardBench"
  rm -rf "$VENV/rewardbench"
  "$VENV/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --target "$VENV/rewardbench" -r "$REWARDBENCH"
}

ready_from "$CONSTRAINTS" "$REWARDBENCH" launchers/clients.sh
