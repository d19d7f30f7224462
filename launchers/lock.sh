#!/usr/bin/env bash
# Writes launchers/locks/: the hashes of what constraints.txt names, as PyPI has them. To be run after a change there.
# usage: [TOOLS=.tools] launchers/lock.sh
#
#   packages.txt     every line of constraints.txt but torch's
#   torch-cuda.txt   torch from PyPI, with the CUDA libraries that this version of it asks for
#   tools.txt        tools.in with what it needs
# torch-cpu.txt is not written here: PyPI has no such build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
LOCKS=launchers/locks
# shellcheck source=tools.sh
source launchers/tools.sh

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 2; }

main() {
  make_tools
  work=$(mktemp -d)   # the trap comes when main has ended
  trap 'rm -rf "$work"' EXIT
  grep -v '^torch==' constraints.txt > "$work/packages.in"
  grep '^torch==' constraints.txt > "$work/torch.in"
  compile "$work/torch.in" --constraints constraints.txt > "$work/torch-cuda.txt"
  refuse_missing "$work"
  compile "$work/packages.in" --no-deps > "$work/packages.txt"
  compile "$LOCKS/tools.in" > "$work/tools.txt"
  mv "$work/packages.txt" "$work/torch-cuda.txt" "$work/tools.txt" "$LOCKS/"
}

# compile FILE FLAG...   for every Python of pyproject.toml at once
compile() {
  echo "# By launchers/lock.sh; do not edit."
  "$TOOLS/bin/uv" pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-annotate --no-header "$@"
}

# setup.sh installs without resolving, so constraints.txt must have all that is needed, but for torch's CUDA libraries.
refuse_missing() {
  local python missing
  for python in 3.10 3.11 3.12; do
    "$TOOLS/bin/uv" pip compile --quiet --python-version "$python" --python-platform x86_64-manylinux_2_28 --no-header \
      --no-annotate --constraints constraints.txt --all-extras pyproject.toml >> "$1/asked.txt"
  done
  missing=$(comm -23 <(names "$1/asked.txt") <(names constraints.txt "$1/torch-cuda.txt"))
  [[ -z $missing ]] || die "constraints.txt has no version of ${missing//$'\n'/, }, which the requirements ask for"
}

names() { sed -n 's/^\([A-Za-z0-9._-]*\)==.*/\1/p' "$@" | sort -u; }

main
