# shellcheck shell=bash disable=SC2154  # SIZE is the caller's
# How setup.sh and clients.sh make a virtual environment. They source this file and set VENV (its folder), PYTHON and
# TORCH (cpu or cuda).
CPU_WHEELS=https://download.pytorch.org/whl/cpu
LOCKS=launchers/locks

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 2; }
phase() { printf '%4ds  %s\n' "$SECONDS" "$*"; }

# Runs make_ready, which the caller defines, unless VENV is as the files named here made it.
ready_from() {
  local stamp=$VENV/.setup-stamp wanted
  wanted=$({ cat "$@" launchers/environment.sh; echo "$TORCH $PYTHON"; } | sha256sum | cut -d' ' -f1)
  if [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && "$VENV/bin/python" -c '' 2>/dev/null; then return; fi
  make_venv
  phase "installing torch ($TORCH)"
  install_torch
  make_ready
  printf '%s\n' "$wanted" > "$stamp"
  phase "$VENV is ready"
}

make_venv() {
  if [[ -x $VENV/bin/python ]] && same_python; then return; fi
  require_python
  phase "creating $VENV with $("$PYTHON" --version); the whole takes a few minutes and, with TORCH=cpu, $SIZE"
  "$PYTHON" -m venv --clear "$VENV"
}

same_python() {
  local version='import sys; print(sys.version_info[:2])' wanted
  wanted=$("$PYTHON" -c "$version" 2>/dev/null) && [[ $("$VENV/bin/python" -c "$version" 2>/dev/null) == "$wanted" ]]
}

# Debian and Ubuntu ship what venv needs (ensurepip) in a package of its own.
require_python() {
  if "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then return; fi
  local packages=("${PYTHON##*/}" "${PYTHON##*/}-venv") sudo=()
  local remedy="install it, or name another Python of 3.10 to 3.12 that has venv: PYTHON=/path/to/python3.11 ${0##*/}"
  command -v apt-get >/dev/null || die "$PYTHON or its venv module is missing; $remedy"
  if (( EUID != 0 )); then
    sudo -n true 2>/dev/null || die "$PYTHON or its venv module is missing; \`sudo apt-get install ${packages[*]}\`, or $remedy"
    sudo=(sudo -n)
  fi
  phase "installing ${packages[*]} with apt-get"
  "${sudo[@]}" apt-get update -qq || true   # an index out of reach need not be the one that has the packages
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null ||
    die "apt-get has no ${packages[*]} for this release; $remedy"
}

pip_install() {
  "$VENV/bin/python" -m pip install -qq --disable-pip-version-check "$@"
}

# An unpinned torch from PyPI brings gigabytes of CUDA. PyPI has no "+cpu" build, but a mirror or PIP_FIND_LINKS may:
# ask those first, since an index out of reach costs minutes of retries.
install_torch() {
  local installed said flags=(--no-deps --require-hashes --requirement "$LOCKS/torch-$TORCH.txt")
  installed=$("$VENV/bin/python" -m pip list --format=freeze 2>/dev/null | sed -n 's/^torch==//p')
  if [[ $TORCH == cuda ]]; then
    if [[ $installed == *+cpu ]]; then "$VENV/bin/python" -m pip uninstall --quiet --yes torch; fi
    pip_install "${flags[@]}"
    return
  fi
  if [[ ${TORCH_HASH-} == any ]]; then flags=(--no-deps "torch==$(sed -n 's/^torch==//p' constraints.txt)+cpu"); fi
  said=$(pip_install "${flags[@]}" 2>&1) && return
  refuse_other_torch "$said"
  said=$(pip_install "${flags[@]}" --extra-index-url "$CPU_WHEELS" 2>&1) && return
  refuse_other_torch "$said"
  die "torch's CPU build cannot be installed: ${said##*ERROR: }"
}

refuse_other_torch() {
  [[ $1 != *"DO NOT MATCH THE HASHES"* ]] ||
    die "the torch that is offered here has no hash in $LOCKS/torch-cpu.txt (its head says which are known);" \
      "to install it all the same: TORCH_HASH=any ${0##*/}"
}
