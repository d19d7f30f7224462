#!/usr/bin/env bash
# Makes .venv-clients, in which tests/clients loads exported models: the newest transformers and TRL, at the versions of
# tests/clients/constraints.txt. RewardBench asks for an older transformers, and lies in a folder of its own there, which
# is put before the packages of .venv.
# usage: [PYTHON=python3.11] launchers/clients.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
TORCH=cpu PYTHON=${PYTHON:-python3.11} VENV=.venv-clients SIZE="1.5 GB"
CONSTRAINTS=tests/clients/constraints.txt REWARDBENCH=tests/clients/rewardbench.txt
# shellcheck source=environment.sh
source launchers/environment.sh

make_ready() {
  phase "installing transformers and TRL"
  pip_install --constraint "$CONSTRAINTS" transformers trl
  phase "installing RewardBench"
  rm -rf "$VENV/rewardbench"
  pip_install --no-deps --target "$VENV/rewardbench" --requirement "$REWARDBENCH"
}

ready_from "$CONSTRAINTS" "$REWARDBENCH" "$LOCKS/torch-cpu.txt" launchers/clients.sh
