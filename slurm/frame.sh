# shellcheck shell=bash
# What the job scripts of this folder share: check, preflight, train, the last line and, if the run goes on, a requeue.
#
#   run_job VERB WHAT key=value ...      `hs2pref VERB WHAT key=value ...`, one process a GPU
#
# Settings, from the environment of sbatch or from the file HS2PREF_CLUSTER_FILE (`hs2pref submit` writes one):
#   HS2PREF_HOME           the repository
#   HS2PREF_PYTHON         default: .venv of the repository, in a container python3
#   HS2PREF_CONTAINER      none (default), enroot_pyxis or apptainer
#   HS2PREF_IMAGE          image of the container
#   HS2PREF_MOUNTS         folders for it, HOST[:CONTAINER],...; the repository and the working folder are there
#   HS2PREF_MPI            srun --mpi=...; default: the cluster's
#   HS2PREF_MAX_FAILURES   starts in a row that may fail without a new checkpoint before the job stays ended; default 1
#   HS2PREF_PREFLIGHT      no: start without it; default yes
#   HS2PREF_RUN, HS2PREF_NODES, HS2PREF_MARGIN_S   of the run, by `hs2pref submit`, for what comes before its
#                          configuration can be read
#
# A start writes RUN/logs/JOBID (JOBID-r1 after the first requeue): driver.log has the phases and, at its end, one line
# that says how it went; node-I-HOST.log has the output of a node's processes. RUN/attach.sh opens a shell in the job.
set -uo pipefail
HS2PREF_HOME=$(cd "$HS2PREF_HOME" && pwd)
export HS2PREF_HOME
# shellcheck source=frame/numbers.sh
source "$HS2PREF_HOME/slurm/frame/numbers.sh"
# shellcheck source=frame/settings.sh
source "$HS2PREF_HOME/slurm/frame/settings.sh"
# shellcheck source=frame/nodes.sh
source "$HS2PREF_HOME/slurm/frame/nodes.sh"
# shellcheck source=frame/step.sh
source "$HS2PREF_HOME/slurm/frame/step.sh"
# shellcheck source=frame/report.sh
source "$HS2PREF_HOME/slurm/frame/report.sh"
# shellcheck source=frame/check.sh
source "$HS2PREF_HOME/slurm/frame/check.sh"
# shellcheck source=frame/begin.sh
source "$HS2PREF_HOME/slurm/frame/begin.sh"
# shellcheck source=frame/preflight.sh
source "$HS2PREF_HOME/slurm/frame/preflight.sh"
# shellcheck source=frame/controller.sh
source "$HS2PREF_HOME/slurm/frame/controller.sh"
# shellcheck source=frame/outcome.sh
source "$HS2PREF_HOME/slurm/frame/outcome.sh"

run_job() {
  local words=("$@") GO_ON=()
  if [[ -n ${HS2PREF_PRINT_WORDS-} ]]; then printf '%s\0' "${words[@]}"; return; fi
  [[ -n ${SLURM_JOB_ID-} ]] || die "not in a SLURM job: submit this script with sbatch or \`hs2pref submit\`"
  note_early_usr1
  note_term
  read_settings
  refuse_other_allocation
  remove_containers   # of jobs that could not
  check "${words[@]}"
  open_logs
  warn_of_short_time
  begin
  preflight "${words[@]}" "${GO_ON[@]}"
  train "${words[@]}" "${GO_ON[@]}"
  conclude
}

# The configuration against itself, the files it names and the allocation; sets RUN, NODES, DEVICES, STOPPED_CODE and
# RESUMES, or ends the job with the sentence that says why it cannot run. What else an image prints is not for us.
check() {
  local file said answer
  file=$(mktemp 2>&1) || end_of_check "error: $file"
  on_first_node "$PYTHON" -m nemo_hs2pref.cli.job "$@"
  COMMAND=(timeout --kill-after=30 "$CHECK_LIMIT_S" "${COMMAND[@]}")
  start_step > "$file" 2>&1
  await_step
  said=$(<"$file")
  rm -f "$file"
  answer=$(sed -n 's/^hs2pref-job: //p' <<< "$said")
  [[ -z $TERMINATED && $EXIT_CODE == 0 && -n $answer ]] || end_of_check "$said"
  read_answer "$answer" || end_of_check "$said"
}

# Each node, and the nodes among themselves, before anything is loaded.
preflight() {
  local log=$LOGS/preflight.log
  [[ ${HS2PREF_PREFLIGHT:-yes} == yes ]] || return 0
  phase preflight
  on_each_node "$log" "$PYTHON" -m nemo_hs2pref.cli preflight "${@:3}"
  COMMAND=(timeout --kill-after=30 "$PREFLIGHT_LIMIT_S" "${COMMAND[@]}")
  start_step
  await_step
  [[ -z $TERMINATED ]] || EXIT_CODE=143   # also where the last check has just passed
  ((EXIT_CODE == 0)) || end_of_preflight "$log"
}

train() {
  phase train
  on_all_nodes "$PYTHON" -m nemo_hs2pref.cli "$@"
  start_step
  trap ask_to_stop USR1
  [[ -z $ASKED ]] || ask_to_stop
  await_step
}
