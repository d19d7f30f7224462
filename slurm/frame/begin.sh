# shellcheck shell=bash disable=SC2034
# What a start finds in the run folder: another job, the work of earlier starts.

MAX_STARTS=20   # in a row without a newer checkpoint; SLURM itself requeues after a node has failed, and counts nothing

# One job a run folder: each would take the other's checkpoints, while they are written, for left over.
lock_run() {
  local file=$RUN/logs/job.lock other
  (set -o noclobber; echo "$SLURM_JOB_ID" > "$file") 2>/dev/null && return
  other=$(<"$file")
  [[ $other == "$SLURM_JOB_ID" ]] || ! is_in_queue "$other" ||
    die "job $other works in $RUN, or waits to go on; scancel it, or choose another exp_manager.explicit_log_dir"
  echo "$SLURM_JOB_ID" > "$file"
}

# COMPLETING is left out: such a job has ended, an epilog may still run.
is_in_queue() {
  [[ -n $(squeue --noheader --jobs="$1" --states=PENDING,CONFIGURING,RUNNING,SUSPENDED --format=%A 2>/dev/null) ]]
}

unlock_run() { [[ $(cat "$RUN/logs/job.lock" 2>/dev/null) != "$SLURM_JOB_ID" ]] || rm -f "$RUN/logs/job.lock"; }

# For bare sbatch; `hs2pref submit` refuses such a job. SLURM tells a job nothing of the --signal that sbatch was given.
warn_of_short_time() {
  local lead left
  [[ -z ${HS2PREF_CLUSTER_FILE-} ]] || return 0
  lead=$(whole "$(sed -n 's/^#SBATCH --signal=.*@\([0-9]*\)$/\1/p' "$0" 2>/dev/null)")
  left=$(whole "$(seconds_left)")
  [[ -z $lead || -z $left ]] || ((left > lead + 60)) ||
    note "warning: $left s are left, and SLURM asks to stop up to $((lead + 60)) s before the end," \
      "unless sbatch had another --signal"
}

# A run that is to begin anew (exp_manager.resume_if_exists=false) does so once in a job: its later starts go on from
# what the job itself has saved. Sets FIRST_CHECKPOINT_STEP and GO_ON.
begin() {
  local job='' starts
  rm -f "$RUN/failure.json"   # of an earlier start
  [[ ! -e $RUN/logs/anew ]] || job=$(<"$RUN/logs/anew")
  if [[ $RESUMES == no && $job != "$SLURM_JOB_ID" ]]; then
    rm -f "$RUN/run_state.json"
    echo "$SLURM_JOB_ID" > "$RUN/logs/anew"
  fi
  read_progress
  FIRST_CHECKPOINT_STEP=$CHECKPOINT_STEP
  if [[ $RESUMES == no ]] && ((CHECKPOINT_STEP)); then GO_ON=(exp_manager.resume_if_exists=true); fi
  starts=$(whole "$(in_a_row starts)" 0)
  ((starts <= MAX_STARTS)) ||
    end_early "$CONFIG_ERROR" "$MAX_STARTS starts in a row brought no newer checkpoint" "to go on submit the same again"
}
