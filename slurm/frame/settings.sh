# shellcheck shell=bash disable=SC2034
# The settings of a job and the variables of its processes. What is set already stays.

export HS2PREF_BEGUN='process has begun'   # a rank's first line: from here on it notes USR1

read_settings() {
  forget_other_job
  if [[ -n ${HS2PREF_CLUSTER_FILE-} ]]; then
    # shellcheck source=/dev/null
    source "$HS2PREF_CLUSTER_FILE" || die "$HS2PREF_CLUSTER_FILE cannot be read on $SLURMD_NODENAME; every node must see it"
  fi
  CONTAINER=${HS2PREF_CONTAINER:-none}
  [[ $CONTAINER == none || -n ${HS2PREF_IMAGE-} ]] || die "HS2PREF_CONTAINER=$CONTAINER needs HS2PREF_IMAGE"
  PYTHON=${HS2PREF_PYTHON:-$(default_python)}
  KILL_WAIT_S=$(whole "$(scontrol show config 2>/dev/null | sed -n 's/^KillWait *= *\([0-9]*\) sec.*/\1/p')" 30)
  export_defaults
  export_end
  export_rendezvous
}

# A job that was submitted from within another has inherited what this frame set for that one.
forget_other_job() {
  if [[ ${HS2PREF_JOB:-$SLURM_JOB_ID} != "$SLURM_JOB_ID" ]]; then
    unset HS2PREF_LOGS MASTER_ADDR MASTER_PORT SLURM_JOB_END_TIME
  fi
  export HS2PREF_JOB=$SLURM_JOB_ID
  forget_other_step
}

# sbatch passes on what srun has told the shell that called it, and srun would take each of these for a flag. sbatch sets
# none of them for this job, or not both of the last two.
forget_other_step() {
  unset "${!SLURM_CPU_BIND@}" "${!SLURM_MEM_BIND@}" SLURM_GPU_BIND SLURM_GPUS_PER_TASK SLURM_NTASKS_PER_GPU \
    SLURM_TRES_PER_TASK
  [[ -z ${SLURM_MEM_PER_NODE-} ]] || unset SLURM_MEM_PER_CPU SLURM_MEM_PER_GPU
}

default_python() {
  local own=$HS2PREF_HOME/.venv/bin/python
  if [[ $CONTAINER == none && -x $own ]]; then echo "$own"; else echo python3; fi
}

export_defaults() {
  [[ $CONTAINER == none ]] || export PYTHONNOUSERSITE=1   # apptainer mounts the home folder, and its packages with it
  export PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=1 HYDRA_FULL_ERROR=1 TOKENIZERS_PARALLELISM=false
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}   # else each of a node's processes takes all of its cores
  export CUDA_DEVICE_MAX_CONNECTIONS=${CUDA_DEVICE_MAX_CONNECTIONS:-1}   # tensor and sequence parallel overlap relies on it
  export TORCH_NCCL_AVOID_RECORD_STREAMS=${TORCH_NCCL_AVOID_RECORD_STREAMS:-1}   # frees what collectives have used sooner
  export NCCL_DEBUG=${NCCL_DEBUG:-WARN}
}

# Newer SLURMs set it; the trainer reads it, and a container has no squeue. Unset for a job without a limit.
export_end() {
  local end
  [[ -z ${SLURM_JOB_END_TIME-} ]] || return 0
  end=$(unset SLURM_TIME_FORMAT; squeue --noheader --jobs="$SLURM_JOB_ID" --format=%e 2>/dev/null)
  [[ -n $end ]] || return 0   # squeue failed; of no text `date` would make this midnight
  end=$(date -d "$end" +%s 2>/dev/null) && export SLURM_JOB_END_TIME=$end
}

# The processes meet on the first node, at a port below those that the kernel hands out. Where the node's name is in no
# name service, SLURM knows the address; no container has scontrol.
export_rendezvous() {
  local first number
  number=$(whole "$SLURM_JOB_ID" 0)
  export MASTER_PORT=${MASTER_PORT:-$((20000 + number % 10000))}
  [[ -z ${MASTER_ADDR-} ]] || return 0
  first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
  if ! getent hosts "$first" >/dev/null; then
    first=$(scontrol show node --oneliner "$first" | sed -n 's/.* NodeAddr=\([^ ]*\).*/\1/p')
  fi
  export MASTER_ADDR=$first
}
