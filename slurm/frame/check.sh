# shellcheck shell=bash disable=SC2034
# How a check without an answer is told. It is the first to touch a node, its container and file system: another start
# may go better. There are no logs yet; what is said is the last line of sbatch's own file, where hs2pref status finds it.

CHECK_LIMIT_S=1800   # for a node or an image that does not come

# What can be told before an image is there: cluster.sbatch_flags may say otherwise than the configuration. Not the GPUs:
# with --exclusive this shell has more than srun gets.
refuse_other_allocation() {
  local no_fit="the job does not fit the configuration: it has" left margin
  [[ -n ${HS2PREF_NODES-} ]] || return 0
  [[ $SLURM_JOB_NUM_NODES == "$HS2PREF_NODES" ]] ||
    die "$no_fit $SLURM_JOB_NUM_NODES nodes, trainer.num_nodes=$HS2PREF_NODES"
  left=$(whole "$(seconds_left)") margin=$(whole "${HS2PREF_MARGIN_S-}" 0)
  [[ -z $left ]] || ((left > margin)) ||
    die "$no_fit $left s left, all of which exp_manager.save_margin_s=$margin keeps for saving"
}

# read_answer TEXT   one "NAME": value a line, as hs2pref's cli/job.py writes them; false where one is missing
read_answer() {
  local refusal
  refusal=$(value <(echo "$1") die)
  if [[ -n $refusal ]]; then remove_containers; die "$refusal"; fi
  RUN=$(value <(echo "$1") RUN) RESUMES=$(value <(echo "$1") RESUMES)
  NODES=$(whole "$(value <(echo "$1") NODES)") DEVICES=$(whole "$(value <(echo "$1") DEVICES)")
  STOPPED_CODE=$(whole "$(value <(echo "$1") STOPPED_CODE)")
  [[ -n $RUN && -n $NODES && -n $DEVICES && -n $STOPPED_CODE && $RESUMES == @(yes|no) ]]
}

# end_of_check TEXT   of all that was printed. Where the run folder is not known nothing can be counted in it.
end_of_check() {
  local said
  exec 3>/dev/null
  RUN=${HS2PREF_RUN:-/dev/null} NEXT=''
  read_progress
  if [[ -n $TERMINATED ]]; then EXIT_CODE=143; fi   # also where the answer has just come
  if was_told_to_end; then
    said="$OUTCOME, while the job was at its check"
  else
    said=$(why_no_answer "$1")
    EXIT_CODE=1 NEXT=$(after_failure)
  fi
  printf '%s\n' ${1:+"$1"} "hs2pref: $said${NEXT:+; $NEXT}" >&2
  leave
}

# In SLURM's words where it has more than an exit code.
why_no_answer() {
  local error
  error=$(sed -nE '/: Exited with exit code /d; s/.*\berror: //p' <<< "$1" | head -n 1)
  if ((EXIT_CODE == 124 || EXIT_CODE == 137)); then error="no answer in $CHECK_LIMIT_S s"; fi
  echo "$PYTHON cannot read the configuration on $SLURMD_NODENAME: ${error:-is it the Python of training?}"
}
