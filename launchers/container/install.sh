#!/usr/bin/env bash
# Installs this plugin inside nvcr.io/nvidia/nemo:25.02.01 and proves that no other package changed.
# usage: [PYTHON=python3] launchers/container/install.sh [WHEEL]      without WHEEL: this checkout, which needs the network
# The container's torch, NeMo, Megatron-Core and NeMo-Aligner are built for each other and for its CUDA, Apex and
# Transformer Engine; one upgraded by pip breaks the others, often only once a job runs. Hence --no-deps, and the check.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PYTHON=${PYTHON:-python3}
STACK='^(torch|nemo-toolkit|megatron-core|nemo-aligner|transformer-engine|apex)=='

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 2; }

# name==version of every installed package but ours, in one spelling.
versions() {
  "$PYTHON" - <<'PY'
import re
from importlib.metadata import distributions

names = {(re.sub(r"[-_.]+", "-", d.name).lower(), d.version) for d in distributions() if d.name}
print(*sorted(f"{name}=={version}" for name, version in names if name != "nemo-hs2pref"), sep="\n")
PY
}

main() {
  local source before after changed stack
  source=$(realpath -e "${1:-$ROOT}" 2>/dev/null) || die "$1: no such wheel; \`make wheel\` writes one to dist/"
  cd /   # or Python would find the checkout before what is installed
  before=$(versions)
  "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$source"
  after=$(versions)
  changed=$(diff <(echo "$before") <(echo "$after") | grep '^[<>]' || true)
  [[ -z $changed ]] || die "the installation changed other packages ($(paste -sd' ' <<<"$changed")); use a fresh container"
  "$PYTHON" -c 'from nemo_hs2pref.recipes.table import DEFAULT; DEFAULT.load_to_show([])' ||
    die "installed, but it cannot read its own configuration; is this container nvcr.io/nvidia/nemo:25.02.01?"
  stack=$(grep -E "$STACK" <<<"$after" | paste -sd' ') || die "installed, but torch and NeMo are not here; $PYTHON trains nothing"
  echo "unchanged: $stack"
}

main "$@"
