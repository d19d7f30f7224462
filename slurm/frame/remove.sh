#!/usr/bin/env bash
# Removes a job's containers from a node, and those of this user's jobs that ended without a word: remove.sh JOB QUEUED...
#
# QUEUED are this user's jobs in the queue, JOB too. Where there are none squeue has failed, and only JOB's go.
mine=$1 queued=" ${*:2} "
enroot list | while read -r name; do
  [[ $name =~ ^pyxis_hs2pref_([0-9]+)_[0-9]+$ ]] || continue
  job=${BASH_REMATCH[1]}
  [[ $job == "$mine" || ($# -gt 1 && $queued != *" $job "*) ]] || continue
  enroot remove -f "$name" < /dev/null
done
