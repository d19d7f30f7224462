# shellcheck shell=bash disable=SC2034
# How a start went, in one line, and whether the job starts again.
#
# The trainer says where it stands in RUN/run_state.json, and which rank failed first in RUN/failure.json: one key a line.

CONFIG_ERROR=2   # exit code of what another start cannot mend: configuration, data, a full disk

conclude() {
  judge
  note_end
  if [[ -n $TERMINATED && $NEXT != requeued* ]] && is_alive; then   # it may be saving, and ends with this shell
    give_time "$KILL_WAIT_S"
    collect_exit_code
    judge
    note_end
  fi
  leave
}

# A job that starts again keeps its lock. Its next start may have other nodes, hence its containers go; after TERM no step
# can be started.
leave() {
  [[ -n $TERMINATED ]] || remove_containers
  if [[ $NEXT == requeued* ]]; then
    requeue
    give_time "$KILL_WAIT_S"   # to a step that may still save
  else
    unlock_run
  fi
  exit "$EXIT_CODE"
}

# Sets OUTCOME, FAILURE (why) and NEXT (what follows); EXIT_CODE becomes that of the first rank to fail.
judge() {
  NEXT='' FAILURE=''
  read_progress
  explain_failure
  if ((EXIT_CODE == 0)); then
    OUTCOME=finished
  elif was_told_to_end; then
    FAILURE=''   # that of a rank which was told to end
  elif has_stopped; then
    OUTCOME="stopped in time"
    NEXT=$(next_start)
  else
    ((EXIT_CODE == STOPPED_CODE)) && FAILURE="no step was done before the time was up; give the job more time"
    OUTCOME=failed
    NEXT=$(after_failure)
  fi
}

# With a checkpoint of this start; check alone knows the code.
has_stopped() { [[ -n ${STOPPED_CODE-} ]] && ((EXIT_CODE == STOPPED_CODE && CHECKPOINT_STEP > FIRST_CHECKPOINT_STEP)); }

note_end() {
  note "ended: $OUTCOME, exit code $EXIT_CODE after $(elapsed), step $STEP_DONE of $NUM_STEPS," \
    "$(checkpoint_words)${FAILURE:+; $FAILURE}${NEXT:+; $NEXT}"
}

# end_early CODE REASON HINT   before training has begun.
end_early() {
  read_progress
  OUTCOME=failed EXIT_CODE=$(whole "$1" 1) FAILURE=$2
  NEXT=$(after_failure)
  [[ $NEXT == requeued* ]] || NEXT=$3${NEXT:+; $NEXT}
  note_end
  leave
}

# value FILE KEY: of a JSON file with one key a line; nothing where there is none.
value() {
  local text
  text=$(sed -n "s/^ *\"$2\": //p" "$1" 2>/dev/null | sed 's/,$//; s/^"//; s/"$//; s/\\"/"/g')
  LC_ALL=C.UTF-8 printf '%b' "$text"   # JSON's other escapes are printf's
}

read_progress() {
  local state=$RUN/run_state.json
  STEP_DONE=$(whole "$(value "$state" step)" 0) NUM_STEPS=$(whole "$(value "$state" num_steps)" '?')
  CHECKPOINT_STEP=$(whole "$(value "$state" checkpoint_step)" 0)
}

checkpoint_words() {
  if ((CHECKPOINT_STEP)); then echo "last checkpoint $RUN/$(value "$RUN/run_state.json" checkpoint) of step $CHECKPOINT_STEP"
  else echo "no checkpoint"; fi
}

# Sets FAILURE, the first rank to fail and its message, and EXIT_CODE to its code: srun gives the largest of all, which
# may be that of a rank that was stopped for it. A rank that a signal killed has said nothing; srun has.
explain_failure() {
  local node task what signal
  FAILURE=
  ((EXIT_CODE == 0)) && return
  IFS=$'\t' read -r node task what < <(sed -nE '/^srun: error: [^:]+: tasks? [0-9]+/{
    s/^srun: error: ([^:]+): tasks? ([0-9]+)[^:]*: (.*)$/\1\t\2\t\3/p;q}' "$LOGS/driver.log")
  if [[ -z $node ]]; then
    FAILURE=$(sed -n 's/^srun: error: //p' "$LOGS/driver.log" | head -n 1)
  elif [[ $what == "Exited with exit code "* ]]; then
    EXIT_CODE=$(whole "${what##* }" 1)
    if signal=$(signal_of "$EXIT_CODE"); then FAILURE="rank $task on $node: killed by $signal"
    elif ((EXIT_CODE != STOPPED_CODE)); then FAILURE=$(said_by_rank "$node" "$task"); fi
  else
    FAILURE="rank $task on $node: $what"
  fi
}

# SIGKILL of 137; 255, as of a failing ssh or exit(-1), is nobody's.
signal_of() {
  local name code
  code=$(whole "$1" 0)
  ((code > 128)) && name=$(kill -l "$code" 2>/dev/null) && [[ $name == [A-Z]* ]] && echo "SIG$name"
}

# The sentence, or the last line of a traceback, of the rank that failed first.
said_by_rank() {
  local rank message
  rank=$(value "$RUN/failure.json" rank)
  message=$(value "$RUN/failure.json" message | tail -n 1)
  if [[ -n $message ]]; then echo "rank $rank: $message"
  else echo "rank $2 on $1: exit code $EXIT_CODE, its output is in $LOGS"; fi
}

# Counts starts in a row of this job that failed without a newer checkpoint, and says what follows.
after_failure() {
  local limit count
  ((EXIT_CODE != CONFIG_ERROR)) || return 0
  limit=$(whole "${HS2PREF_MAX_FAILURES-}" 1) count=$(whole "$(in_a_row failures)" 1)
  if ((count < limit)); then echo "$(next_start), failure $count of $limit in a row"
  else echo "not started again after $count of $limit failures in a row"; fi
}

# in_a_row NAME: how many starts there were of this job without a newer checkpoint, with this one, which counts once. In
# RUN/logs/NAME: job, how many, checkpoint step at the last one, SLURM's count of starts, which stands for ours where we
# cannot write.
in_a_row() {
  local file=$RUN/logs/$1 this job count step start
  this=$(whole "${SLURM_RESTART_COUNT-}" 0)
  read -r job count step start 2>/dev/null < "$file" || job=
  count=$(whole "${count-}" 0) step=$(whole "${step-}" 0)
  if [[ $job != "$SLURM_JOB_ID" ]] || ((CHECKPOINT_STEP > step)); then count=0 start=; fi
  [[ $start == "$this" ]] || ((count += 1))
  echo "$SLURM_JOB_ID $count $CHECKPOINT_STEP $this" 2>/dev/null > "$file.new" && mv "$file.new" "$file" ||
    count=$((this + 1))
  echo "$count"
}
