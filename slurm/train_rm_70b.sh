#!/usr/bin/env bash
# Trains a reward model on a SLURM cluster; which one is an argument.
#
#   sbatch slurm/train_rm_70b.sh exp_manager.explicit_log_dir=runs/stage1       # the paper's stage 1: 8 nodes of 8 GPUs
#   sbatch --nodes=4 slurm/train_rm_70b.sh experiment=rm_stage2_scaled_bt \
#     pretrained_checkpoint.restore_from_path=runs/stage1/checkpoints/last exp_manager.explicit_log_dir=runs/stage2
#   hs2pref submit slurm/train_rm_70b.sh cluster=h100 [key=value ...]     # sbatch's flags from the configuration
#
# The lines below are defaults: SBATCH_* variables and sbatch's flags override them, and arguments of the script override
# those in PLACES. slurm/frame.sh says what else can be set and what happens in the job.
#SBATCH --job-name=hs2pref-rm
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --mem=0
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@600
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=hs2pref-%j.out

PLACES=(
  experiment=rm_stage1_helpfulness
  data.dir=data/helpsteer2
  pretrained_checkpoint.restore_from_path=checkpoints/llama31_70b
  exp_manager.explicit_log_dir=runs/rm_70b
)

# slurmd runs a copy of this file: the repository is where sbatch was called, unless HS2PREF_HOME says otherwise.
HS2PREF_HOME=${HS2PREF_HOME:-${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}}
if [[ ! -f $HS2PREF_HOME/slurm/frame.sh ]]; then
  echo "hs2pref: $HS2PREF_HOME is not the repository; call sbatch there, or export HS2PREF_HOME=/path/to/it" >&2
  exit 2
fi
# shellcheck source=frame.sh
source "$HS2PREF_HOME/slurm/frame.sh"
run_job train rm "${PLACES[@]}" "$@"
