# shellcheck shell=bash disable=SC2034
# How a command runs on the nodes, in the container where there is one. Each function leaves it in COMMAND: what is
# started in the background must be srun itself, and not a shell around it, or srun would not get our signals.

# One process a GPU; their output goes into a file a node, each line with its rank in front.
on_all_nodes() {
  local cores=$((SLURM_CPUS_ON_NODE / DEVICES))
  inside --nodes="$NODES" --ntasks-per-node="$DEVICES" --ntasks="$((NODES * DEVICES))" \
    --cpus-per-task="$((cores > 0 ? cores : 1))" --kill-on-bad-exit=1 --wait=60 \
    --label --unbuffered --open-mode=append --output="$LOGS/node-%n-%N.log" \
    -- "$HS2PREF_HOME/slurm/frame/task.sh" "$@"
}

# on_each_node FILE COMMAND...   one process a node, their output in FILE; what one finds does not stop the others.
on_each_node() {
  inside --nodes="$NODES" --ntasks="$NODES" --ntasks-per-node=1 --kill-on-bad-exit=0 --unbuffered --output="$1" \
    -- "${@:2}"
}

# One process on the node of this shell, whose output it has.
on_first_node() {
  inside --nodes=1 --ntasks=1 --nodelist="$SLURMD_NODENAME" -- "$@"
}

# inside SRUN_FLAG... -- COMMAND...   pyxis knows nothing of an earlier srun's flags, so every srun gets them all.
inside() {
  local flags=() mounts
  while [[ $1 != -- ]]; do flags+=("$1"); shift; done
  shift
  COMMAND=("$@")
  [[ -z ${HS2PREF_MPI-} ]] || flags+=(--mpi="$HS2PREF_MPI")
  mounts=$HS2PREF_HOME,$PWD${HS2PREF_MOUNTS:+,$HS2PREF_MOUNTS}
  case $CONTAINER in
    none) ;;
    enroot_pyxis)
      flags+=(--container-image="$HS2PREF_IMAGE" --container-name="hs2pref_$SLURM_JOB_ID" --container-writable
        --container-mounts="$mounts" --container-workdir="$PWD" --no-container-mount-home) ;;
    apptainer) COMMAND=(apptainer exec --nv --bind "$mounts" --pwd "$PWD" "$HS2PREF_IMAGE" "$@") ;;
    *) die "HS2PREF_CONTAINER=$CONTAINER: expected none, enroot_pyxis or apptainer" ;;
  esac
  COMMAND=(srun "${flags[@]}" "${COMMAND[@]}")
}
