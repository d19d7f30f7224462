# shellcheck shell=bash
# The environment of the tools that look at dependencies: apart from training's, whose versions they must not change.
TOOLS=${TOOLS:-.tools}

make_tools() {
  local list=launchers/locks/tools.txt
  if [[ -x $TOOLS/bin/python ]] && cmp -s "$list" "$TOOLS/made-of"; then return; fi
  "${PYTHON:-python3.11}" -m venv --clear "$TOOLS"
  "$TOOLS/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes --requirement "$list"
  cp "$list" "$TOOLS/made-of"
}
