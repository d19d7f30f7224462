# shellcheck shell=bash disable=SC2034
# What a person reads: notes and phases with their times, here and in driver.log; attach.sh.

# Without what moves a cursor or turns a line around: control characters, Unicode's bidirectional ones, line ends.
shown() {
  LC_ALL=C sed -E 's/\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]|\xd8\x9c|\xc2[\x80-\x9f]|[\x00-\x1f\x7f]/?/g' \
    <<< "${*//[$'\r\n']/ }"
}

die() {
  printf 'hs2pref: %s\n' "$(shown "$*")" >&2
  exit 2
}

# From here on output goes to driver.log; what is noted goes to sbatch's own file too.
open_logs() {
  LOGS=$RUN/logs/$SLURM_JOB_ID${SLURM_RESTART_COUNT:+-r$SLURM_RESTART_COUNT}
  export HS2PREF_LOGS=$LOGS
  mkdir -p "$RUN/logs" || die "$RUN/logs cannot be made"
  lock_run
  mkdir -p "$LOGS" || die "$LOGS cannot be made"
  exec 3>&1
  exec >>"$LOGS/driver.log" 2>&1
  note "job $SLURM_JOB_ID on $SLURM_JOB_NODELIST, $NODES nodes x $DEVICES processes, logs in $LOGS"
  write_attach
}

note() {
  local line
  line="$(date -u +%FT%TZ) $(elapsed) $(shown "$*")"
  printf '%s\n' "$line"
  printf '%s\n' "$line" >&3
}

phase() { note "phase: $1"; }

# Since the start of this shell.
elapsed() { printf '%d:%02d:%02d' $((SECONDS / 3600)) $((SECONDS / 60 % 60)) $((SECONDS % 60)); }

write_attach() {
  local words
  # shellcheck disable=SC2016  # for the script that is written
  inside --overlap --jobid="$SLURM_JOB_ID" --nodes=1 --ntasks=1 --ntasks-per-node=1 --pty -- bash
  words=$(printf ' %q' "${COMMAND[@]:1}")
  cat > "$RUN/attach.sh.new" <<SCRIPT
#!/usr/bin/env bash
# A shell in job $SLURM_JOB_ID, on its first node or the one named: attach.sh [NODE]
exec srun --nodelist="\${1:-$SLURMD_NODENAME}"$words
SCRIPT
  chmod +x "$RUN/attach.sh.new" && mv "$RUN/attach.sh.new" "$RUN/attach.sh"
}
