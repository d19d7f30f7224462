# shellcheck shell=bash disable=SC2034
# What a start finds in the run folder: another job, the work of earlier starts.

MAX_STARTS=20   # in a row without a newer checkpoint; SLURM itself requeues after a node has failed, and counts nothing

ANSWER_TRIES=6 ANSWER_PAUSE_S=10   # for a controller that is busy

# One job a run folder: each would take the other's checkpoints, while they are written, for left over. The file has the
# id of the job; that of a job which is gone, or of none, is taken over.
lock_run() {
  local mine=$RUN/logs/job.lock.new-$SLURM_JOB_ID
  echo "$SLURM_JOB_ID" 2>/dev/null > "$mine" || die "$mine cannot be written; is the disk full, or not yours?"
  take_lock "$RUN/logs/job.lock" "$mine"
  rm -f "$mine"
}

# take_lock FILE MINE   FILE is made with its content, by ln, or changed by the one job that has the lock
# FILE.after-HOLDER: of several jobs that find the same holder gone one goes first, and the others find that one.
take_lock() {
  local file=$1 mine=$2 holder tries=0
  until ln -T "$mine" "$file" 2>/dev/null; do
    if ! holder=$(holder_of "$file"); then   # or it has just been removed
      ((++tries < 5)) || refuse_lock "$file can be neither made nor read; is the disk full, or without hard links?" "$mine"
      sleep 0.2
      continue
    fi
    [[ $holder != "$SLURM_JOB_ID" ]] || return 0
    refuse_queued "$holder" "$mine"
    take_lock "$file.after-$holder" "$mine"
    if [[ $(holder_of "$file") == "$holder" ]]; then cp "$mine" "$mine.copy" && mv -T "$mine.copy" "$file"; fi
    rm -f "$file.after-$holder"
  done
}

# A crash or a full disk may have left any bytes.
holder_of() {
  local text
  text=$(cat "$1" 2>/dev/null | tr -d '\0') || return
  if [[ $text =~ ^[0-9]{1,18}$ ]]; then echo "$text"; else echo nobody; fi
}

refuse_queued() {
  local try=0
  [[ $1 != nobody ]] || return 0
  until ask_queue "$1"; do
    ((++try < ANSWER_TRIES)) ||
      refuse_lock "squeue does not answer, and job $1, which had $RUN, may still work in it; submit this again later" "$2"
    sleep "$ANSWER_PAUSE_S"
  done
  [[ -z $IS_QUEUED ]] ||
    refuse_lock "job $1 works in $RUN, or waits to go on; scancel it, or choose another exp_manager.explicit_log_dir" "$2"
}

# Sets IS_QUEUED. This job runs, so an answer without it is none; and with two ids squeue does not fail for one that it
# has forgotten. COMPLETING is left out: such a job has ended, an epilog may still run.
ask_queue() {
  local jobs
  jobs=$(squeue --noheader --jobs="$1,$SLURM_JOB_ID" --states=PENDING,CONFIGURING,RUNNING,SUSPENDED --format=%A 2>/dev/null) &&
    grep -qwF "$SLURM_JOB_ID" <<< "$jobs" || return 1
  IS_QUEUED=$(grep -wF "$1" <<< "$jobs")
  return 0
}

refuse_lock() {
  rm -f "$2"
  die "$1"
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
