#!/usr/bin/env bash
# The first thing that runs on a node, in the container where there is one: enter.sh COMMAND...
#
# An image's variables win over ours, hence PYTHONPATH here: the repository goes before what the image has. A run folder
# that is not the host's would be lost with the container.
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PYTHONPATH=$home${PYTHONPATH:+:$PYTHONPATH}
if [[ -n ${HS2PREF_LOGS-} && ! -d $HS2PREF_LOGS ]]; then
  echo "hs2pref preflight: error: ${SLURMD_NODENAME-}: the run folder is not here, $HS2PREF_LOGS is missing;" \
    "every node must see it, and a container needs it in cluster.mounts (HS2PREF_MOUNTS)" >&2
  exit 1   # and not 2: another node may see it
fi
exec "$@"
