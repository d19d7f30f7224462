# shellcheck shell=bash
# The one door through which text comes into arithmetic.
#
# bash computes what the text of a variable says: in ((x)), [[ x -eq ... ]], an index, ${y:x}, and what it finds in the
# brackets of `a[$(command)]` it runs. So every number that is not this frame's own, from the run folder, SLURM, the
# environment or a log, comes from `whole`; tests/test_job_script.py looks at each variable that is computed with.

# whole TEXT [OTHERWISE]   the number that TEXT is, without leading zeros, which would make it octal; else OTHERWISE
whole() {
  local LC_ALL=C
  if [[ ${1-} =~ ^[0-9]{1,18}$ ]]; then echo "$((10#$1))"; else echo "${2-}"; fi
}
