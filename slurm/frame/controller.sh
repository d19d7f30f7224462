# shellcheck shell=bash disable=SC2034
# What SLURM's controller knows of this job, and what it is asked for.

# By SLURM, which has not always told this shell: sets OUTCOME and NEXT. The clock does not tell a limit from scancel: a
# limit may have been changed since, and of a job that is cancelled squeue calls this moment the end.
was_told_to_end() {
  local shown restarts starts
  shown=$(scontrol show job --oneliner "$SLURM_JOB_ID" 2>/dev/null)
  restarts=$(whole "$(of_job "$shown" Restarts)" 0) starts=$(whole "${SLURM_RESTART_COUNT-}" 0)
  if ((restarts > starts)); then   # a node has failed, or the job was preempted at once
    OUTCOME="ended by SLURM" NEXT="SLURM starts it again"
  elif is_preempted "$shown"; then
    OUTCOME=preempted NEXT=$(next_start)
  elif [[ -z $TERMINATED ]]; then
    return 1
  elif [[ $(of_job "$shown" Reason) != TimeLimit ]]; then
    OUTCOME=cancelled NEXT="to go on submit the same again"
  elif has_stopped; then
    return 1
  else
    OUTCOME="the time limit came before the run had saved" NEXT=$(after_failure)
  fi
}

# of_job SHOWN NAME   of scontrol's NAME=value, which has no blanks
of_job() { sed -nE "s/(^|.* )$2=([^ ]*).*/\2/p" <<< "$1"; }

# In this start. With a GraceTime SLURM sends TERM to the steps, and nothing to this shell.
is_preempted() {
  local at
  at=$(of_job "$1" PreemptTime)
  [[ $at == [0-9]* && ! $at < $(of_job "$1" StartTime) ]]
}

# Nothing where the end is not known.
seconds_left() {
  local end_s now_s
  end_s=$(whole "${SLURM_JOB_END_TIME-}") now_s=$(whole "$(date +%s)")
  [[ -z $end_s ]] || echo "$((end_s > now_s ? end_s - now_s : 0))"
}

next_start() {
  if scontrol show job --oneliner "$SLURM_JOB_ID" | grep -q ' Requeue=1 '; then echo "requeued"
  else echo "this job may not be requeued, to go on submit the same again"; fi
}

# SLURM ends this shell a moment later.
requeue() {
  local answer
  answer=$(scontrol requeue "$SLURM_JOB_ID" 2>&1) || note "not requeued: $answer; to go on submit the same again"
}
