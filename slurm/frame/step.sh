# shellcheck shell=bash disable=SC2034
# The training step: started in the background, asked to stop in time, waited for. Sets EXIT_CODE and, after scancel or
# at the time limit, TERMINATED.

# USR1 may come before there is a step; it would end this shell.
note_early_usr1() {
  ASKED=''
  trap 'ASKED=yes' USR1
}

# bash runs a trap between two commands, and at once only in `wait`; hence the background.
run_step() {
  TERMINATED='' EXIT_CODE=143
  trap 'TERMINATED=yes' TERM
  "${COMMAND[@]}" &
  STEP=$!
  trap ask_to_stop USR1
  [[ -z $ASKED ]] || ask_to_stop
  while is_alive && [[ -z $TERMINATED ]]; do wait "$STEP"; done
  if [[ -n $TERMINATED ]]; then give_time "$((KILL_WAIT_S / 2))"; fi
  collect_exit_code
}

# bash keeps the exit code of a child that is gone; of one that is not, 143 stands.
collect_exit_code() {
  if ! is_alive; then wait "$STEP"; EXIT_CODE=$?; fi
}

is_alive() { kill -0 "$STEP" 2>/dev/null; }

# srun hands the signal to all processes. Again and again, for a process that still loads does not hear it.
ask_to_stop() {
  note "USR1: the run saves and stops"
  { while is_alive; do kill -USR1 "$STEP"; sleep 20; done; } &
}

# SLURM asks with TERM, and KILL_WAIT_S later ends what is left, this shell too; the last line must be written by then.
give_time() {
  local deadline=$((SECONDS + $1))
  while is_alive && ((SECONDS < deadline)); do sleep 0.2; done
}
