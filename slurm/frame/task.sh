#!/usr/bin/env bash
# One process of a step: task.sh COMMAND...   exits with its code, 128 + signal where it was killed.
#
# It is started as a child, so that a rank that is killed leaves nothing behind: megatron-core's helper processes would
# live on, and on a node with one rank SLURM would wait for the output that they hold open.
# USR1 is ignored until Python notes it and says HS2PREF_BEGUN. SLURM sends it and TERM to the child as well as to this
# shell.
trap '' USR1
trap : TERM
export HS2PREF_TASK=$SLURM_JOB_ID.$SLURM_STEP_ID.$SLURM_PROCID

"$@" &
child=$!
while kill -0 "$child" 2>/dev/null; do wait "$child"; done
wait "$child"
code=$?
((code >= 0)) || code=143   # bash 5.2 says -1 of a child that ends while a trap interrupts `wait`

for file in /proc/[0-9]*/environ; do
  pid=${file//[!0-9]/}
  if [[ $pid != "$$" ]] && grep -qsz "^HS2PREF_TASK=$HS2PREF_TASK\$" "$file"; then kill -KILL "$pid" 2>/dev/null; fi
done
exit "$code"
