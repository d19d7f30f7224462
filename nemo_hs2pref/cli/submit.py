"""`hs2pref submit`: check a run on the login node, and queue it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nemo_hs2pref.cli.processes import say

if TYPE_CHECKING:
    from nemo_hs2pref.launch.jobs.submission import Job

EXAMPLES = """examples:
  # show what would be submitted: sbatch's command, the script and the resolved configuration; write nothing
  hs2pref submit slurm/train_rm_70b.sh --dry-run model.optim.lr=2e-6

  # the paper's stage 2 on H100 nodes; `cluster.` keys are the cluster's (conf/cluster/), all others the run's
  hs2pref submit slurm/train_rm_70b.sh cluster=h100 cluster.account=my_project cluster.time=08:00:00 \\
      experiment=rm_stage2_scaled_bt pretrained_checkpoint.restore_from_path=runs/stage1/checkpoints/last \\
      exp_manager.explicit_log_dir=runs/stage2

  # any other flag of sbatch
  hs2pref submit slurm/train_rm_70b.sh cluster=a100 "cluster.sbatch_flags=['--nice=100','--qos=night']"

What a run was submitted with (code, configuration, environment, command) is kept in RUN/submissions/.
exit code: 0 submitted, 2 refused; standard output is the job's id
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument(
        "script", type=Path, metavar="SCRIPT", help="a job script in slurm/, given from the repository's root"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be submitted, and submit nothing")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="overrides of the cluster (cluster.KEY=...) and of the run"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from nemo_hs2pref.launch.jobs.submission import make_job, submit

    job = make_job(args.script, args.overrides)
    if warning := too_large(job):
        say("submit", f"warning: {warning}")
    if not args.dry_run:
        job_id = submit(job)
        print(job_id)
        say("submit", f"job {job_id}; hs2pref status {job.run}")
        return 0
    for title, text in pages(job):
        print(f"# ---- {title}\n{text}")
    for sentence in job.faults:
        say("submit", f"would be refused: {sentence}")
    return 0


def too_large(job: "Job") -> str | None:
    """What `hs2pref plan` says of a run that does not fit into a GPU's memory."""
    from nemo_hs2pref.launch.plan.plan import make_plan
    from nemo_hs2pref.launch.plan.text import verdict
    from nemo_hs2pref.launch.stored import stored_config

    base = Path(job.config.pretrained_checkpoint.restore_from_path)
    plan = make_plan(job.recipe, job.config, stored_config(base), job.cluster.gpu_memory)
    return None if plan.fits else verdict(plan)


def pages(job: "Job") -> list[tuple[str, str]]:
    """(title, text) of what a submission consists of."""
    from omegaconf import OmegaConf

    from nemo_hs2pref.launch.jobs.submission import SETTINGS

    return [
        ("command", job.line),
        (str(job.record / SETTINGS), job.settings),
        (str(job.script), job.text),
        ("configuration of the run", OmegaConf.to_yaml(job.resolved)),
    ]
