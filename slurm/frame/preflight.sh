# shellcheck shell=bash disable=SC2034
# How a preflight that failed is told, and whether another start may go better.

PREFLIGHT_LIMIT_S=1800   # each check has its own limit; this is for a node or an image that does not come
# Of hs2pref preflight: other nodes may pass them. The first node, in the same container, has found what the
# configuration names before: where it is missing now, the node's file system is.
MACHINE_CHECKS=' gpus cuda imports paths rendezvous shared temporary '

# end_of_preflight FILE   with the first sentence in it, else what SLURM says
end_of_preflight() {
  local said code=1 advice=''
  read_progress
  if was_told_to_end; then conclude; fi
  said=$(sed -n 's/.*hs2pref preflight: error: //p' "$1")
  if [[ -n $said ]] && ! are_the_machines "$said"; then code=$CONFIG_ERROR; fi
  if [[ -z $said ]] && ((EXIT_CODE == 124 || EXIT_CODE == 137)); then
    said="preflight took more than $PREFLIGHT_LIMIT_S s"
  fi
  [[ -n $said ]] || said=$(cat "$1" "$LOGS/driver.log" 2>/dev/null | sed -nE 's/.*\berror: //p')
  ((code == CONFIG_ERROR)) || advice=$(advice_on "$said")
  end_early "$code" "${said%%$'\n'*}$advice" "see $1"
}

# are_the_machines LINES   every line names failed checks, and they are of machines or had no answer
are_the_machines() {
  local line name
  while read -r line; do
    [[ $line != *': the run folder is not here, '* ]] || continue   # enter.sh
    [[ $line == *'checks failed: '* ]] || return
    while read -r name; do
      [[ $name == *' (no answer)' || $MACHINE_CHECKS == *" $name "* ]] || return
    done <<< "$(tr , '\n' <<< "${line##*checks failed: }")"
  done <<< "$1"
}

# advice_on LINES   which nodes to leave out; SLURM may start the job on them again. Where nodes do not meet each other,
# all say so, and none is to blame; what all nodes lack, the image lacks.
advice_on() {
  local broken count
  broken=$(sed -nE '/failed: (rendezvous|shared|, | \(no answer\))+$/d
    s/^([^: ]+): ([0-9]+ of [0-9]+ checks failed|the run folder is not here).*/\1/p' <<< "$1" | sort -u)
  count=$(whole "$(wc -l <<< "$broken")" 0)
  [[ -z $broken ]] || ((count == NODES)) ||
    echo "; to leave it out: sbatch --exclude=${broken//$'\n'/,}"
}
