#!/usr/bin/env bash
# Known vulnerabilities of what constraints.txt names, by pip-audit from PyPI's list of them.
# usage: [TOOLS=.tools] launchers/audit.sh     exit code: 0 none known, 1 some are, 2 could not ask about all
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools.sh
source launchers/tools.sh
make_tools
exec "$TOOLS/bin/python" launchers/audit.py launchers/locks/packages.txt launchers/locks/torch-cuda.txt
