# shellcheck shell=bash disable=SC2034
# A step: started in the background, asked to stop in time, waited for. Sets EXIT_CODE and, after scancel or at the time
# limit, TERMINATED.

STEP=''        # process of srun
EXIT_CODE=143

# Either would end this shell without a word. USR1 may come before there is a step to hand it to.
note_early_usr1() {
  ASKED=''
  trap 'ASKED=yes' USR1
}

note_term() {
  TERMINATED=''
  trap 'TERMINATED=yes' TERM
}

start_step() {
  EXIT_CODE=143
  "${COMMAND[@]}" &
  STEP=$!
}

# bash runs a trap between two commands, and at once only in `wait`; hence the background.
await_step() {
  while is_alive && [[ -z $TERMINATED ]]; do wait "$STEP"; done
  if [[ -n $TERMINATED ]]; then give_time "$((KILL_WAIT_S / 2))"; fi
  collect_exit_code
}

# bash keeps the exit code of a child that is gone; of one that is not, 143 stands. bash 5.2 says -1 of a child that ends
# while a trap interrupts `wait`.
collect_exit_code() {
  local code
  is_alive && return
  wait "$STEP"
  code=$?
  if ((code >= 0)); then EXIT_CODE=$code; fi
}

is_alive() { kill -0 "$STEP" 2>/dev/null; }

# srun hands the signal to all processes: not before all have begun, for it would end srun, or be lost; then again and
# again, should a node lose it.
ask_to_stop() {
  note "USR1: the run saves and stops"
  {
    while is_alive && ! have_all_begun; do sleep 1; done
    while is_alive; do kill -USR1 "$STEP"; sleep 20; done
  } >/dev/null 2>&1 &
}

have_all_begun() {
  local begun
  begun=$(whole "$(cat "$LOGS"/node-*.log 2>/dev/null | grep -c "^ *[0-9]*: $HS2PREF_BEGUN\$")" 0)
  ((begun >= NODES * DEVICES))
}

# SLURM asks with TERM, and KILL_WAIT_S later ends what is left, this shell too; the last line must be written by then.
give_time() {
  local wait deadline
  wait=$(whole "$1" 0)
  deadline=$((SECONDS + wait))
  while is_alive && ((SECONDS < deadline)); do sleep 0.2; done
}
