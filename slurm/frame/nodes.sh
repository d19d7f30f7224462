# shellcheck shell=bash disable=SC2034
# How a command runs on the nodes, in the container where there is one. Each function leaves it in COMMAND: what is
# started in the background must be srun itself, and not a shell around it, or srun would not get our signals.

# One process a GPU; their output goes into a file a node, each line with its rank in front. Neighbours share a node, for
# tensor parallel, and a socket, as GPUs 0-3 of an HGX node do: SLURM would deal them to the sockets in turn.
on_all_nodes() {
  inside --nodes="$NODES" --ntasks-per-node="$DEVICES" --ntasks="$((NODES * DEVICES))" --distribution=block:block \
    --cpus-per-task="$(cores_of_a_process)" --kill-on-bad-exit=1 --wait=60 \
    --label --unbuffered --open-mode=append --output="$(as_pattern "$LOGS")/node-%n-%N.log" \
    -- "$HS2PREF_HOME/slurm/frame/task.sh" "$@"
}

# Of a path, for srun's --output.
as_pattern() { printf '%s' "${1//"%"/%%}"; }

# An even number: with two threads a core SLURM gives whole cores, and a node would have too few for all processes.
cores_of_a_process() {
  local cores
  cores=$(whole "$SLURM_CPUS_ON_NODE" 1)
  cores=$((cores / DEVICES))
  ((cores < 2)) && echo 1 || echo "$((cores / 2 * 2))"
}

# on_each_node FILE COMMAND...   one process a node, their output in FILE; what one finds does not stop the others, and
# the site's WaitTime neither.
on_each_node() {
  inside --nodes="$NODES" --ntasks="$NODES" --ntasks-per-node=1 --kill-on-bad-exit=0 --wait="$PREFLIGHT_LIMIT_S" \
    --unbuffered --output="$(as_pattern "$1")" -- "${@:2}"
}

# One process on the node of this shell, whose output it has.
on_first_node() {
  inside --nodes=1 --ntasks=1 --ntasks-per-node=1 --nodelist="$SLURMD_NODENAME" -- "$@"
}

# inside SRUN_FLAG... -- COMMAND...   pyxis knows nothing of an earlier srun's flags, so every srun gets them all.
inside() {
  local flags=(--export=ALL) mounts   # else srun takes sbatch's --export, and our variables do not arrive
  while [[ $1 != -- ]]; do flags+=("$1"); shift; done
  shift
  COMMAND=("$HS2PREF_HOME/slurm/frame/enter.sh" "$@")
  [[ -z ${HS2PREF_MPI-} ]] || flags+=(--mpi="$HS2PREF_MPI")
  mounts=$HS2PREF_HOME,$PWD${HS2PREF_MOUNTS:+,$HS2PREF_MOUNTS}
  case $CONTAINER in
    none) ;;
    enroot_pyxis)
      flags+=(--container-image="$HS2PREF_IMAGE" --container-name="$(container_name)" --container-writable
        --container-mounts="$mounts" --container-workdir="$PWD" --container-env="$(names_that_win)"
        --no-container-mount-home --no-container-entrypoint) ;;
    apptainer) COMMAND=(apptainer exec --nv --bind "$mounts" --pwd "$PWD" "$HS2PREF_IMAGE" "${COMMAND[@]}") ;;
    *) die "HS2PREF_CONTAINER=$CONTAINER: expected none, enroot_pyxis or apptainer" ;;
  esac
  COMMAND=(srun "${flags[@]}" "${COMMAND[@]}")
}

# Another one at every start: pyxis takes what it finds of that name, a half that was left of an earlier one too.
container_name() { echo "hs2pref_${SLURM_JOB_ID}_${SLURM_RESTART_COUNT:-0}"; }

# What the user has set goes before the variables of the image, NAME,...
names_that_win() {
  local name find='/^export HS2PREF_/!s/^export ([A-Za-z_][A-Za-z0-9_]*)=.*/\1/p'
  printf MASTER_ADDR,MASTER_PORT
  sed -nE "$find" "${HS2PREF_CLUSTER_FILE:-/dev/null}" | while read -r name; do printf ',%s' "$name"; done
}

# pyxis keeps a container that has a name on its node, tens of gigabytes, unless the site has container_scope=job.
remove_containers() {
  local queued
  [[ $CONTAINER == enroot_pyxis ]] || return 0
  readarray -t queued < <(squeue --noheader --user="$(id -un)" --format=%A 2>/dev/null)
  timeout 60 srun --export=ALL --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
    "$HS2PREF_HOME/slurm/frame/remove.sh" "$SLURM_JOB_ID" "${queued[@]}" >/dev/null 2>&1
}
