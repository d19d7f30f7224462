# shellcheck shell=bash disable=SC2034
# How a preflight that failed is told, and whether another start may go better.

PREFLIGHT_LIMIT_S=1800   # each check has its own limit; this is for a node or an image that does not come
MACHINE_CHECKS=' gpus cuda meeting shared temporary '   # of hs2pref preflight: other nodes may pass them

# end_of_preflight FILE   with the first sentence in it, else what SLURM says
end_of_preflight() {
  local said code=1
  read_progress
  if was_told_to_end; then conclude; fi
  said=$(sed -n 's/.*hs2pref preflight: error: //p' "$1")
  if [[ -n $said ]] && ! are_the_machines "$said"; then code=$CONFIG_ERROR; fi
  if [[ -z $said ]] && ((EXIT_CODE == 124 || EXIT_CODE == 137)); then
    said="preflight took more than $PREFLIGHT_LIMIT_S s"
  fi
  [[ -n $said ]] || said=$(cat "$1" "$LOGS/driver.log" 2>/dev/null | sed -nE 's/.*\berror: //p')
  end_early "$code" "${said%%$'\n'*}" "see $1"
}

# are_the_machines LINES   every line names failed checks, and they are all of machines
are_the_machines() {
  local line name
  while read -r line; do
    [[ $line == *'checks failed: '* ]] || return
    for name in ${line##*checks failed: }; do [[ $MACHINE_CHECKS == *" ${name%,} "* ]] || return; done
  done <<< "$1"
}
