"""A job for SLURM: made from a script, a cluster and a run's configuration, checked, recorded and handed to sbatch."""

import math
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.errors import ConfigError, InstallationError
from nemo_hs2pref.launch.jobs.cluster import (
    Cluster,
    load_cluster,
    sbatch_flags,
    settings_file,
    split_overrides,
    without_gpus,
)
from nemo_hs2pref.launch.jobs.container import absent, unseen
from nemo_hs2pref.launch.jobs.logs import in_the_way
from nemo_hs2pref.launch.jobs.record import about_code, about_environment, as_line, new_folder, write_record
from nemo_hs2pref.launch.jobs.script import home_of, refuse_bad_syntax, words_of
from nemo_hs2pref.launch.jobs.validation import load_checked, missing, reads
from nemo_hs2pref.recipes.recipe import Recipe

SETTINGS, SCRIPT = "cluster.sh", "script.sh"  # files of the record
OF_A_STEP = re.compile(r"SLURM_(?!CONF$)|SRUN_|PMI")


@dataclass(frozen=True)
class Job:
    """A job that can be submitted."""

    script: Path
    home: Path  # the repository
    run: Path
    record: Path  # folder of what is written before it is submitted
    settings: str  # text of the file HS2PREF_CLUSTER_FILE
    text: str  # of the script as it is submitted
    command: list[str]  # sbatch ... RECORD/script.sh overrides
    cluster: Cluster
    recipe: Recipe[Any]
    config: RunConfig
    resolved: DictConfig
    faults: list[str]  # a sentence for each reason not to queue it now

    @property
    def environment(self) -> dict[str, str]:
        """What sbatch's own environment gets, and so the job's."""
        return {"HS2PREF_HOME": str(self.home), "HS2PREF_CLUSTER_FILE": str(self.record / SETTINGS)}

    @property
    def line(self) -> str:
        """The command as a shell takes it."""
        return as_line(["env", *(f"{name}={value}" for name, value in self.environment.items()), *self.command])


def make_job(script: Path, overrides: Sequence[str]) -> Job:
    """Raises ConfigError for all that cannot run, except for what may change until it is queued: Job.faults."""
    home = home_of(script)
    of_cluster, of_run = split_overrides(overrides)
    cluster = load_cluster(of_cluster)
    asked = load_checked(words_of(script, of_run))
    config, resolved = asked.config, asked.resolved
    refuse_other_nodes(config, cluster)
    run = Path(config.exp_manager.explicit_log_dir).absolute()
    record, settings = new_folder(run), settings_file(cluster) + run_settings(config, run)
    text = script.read_text() if cluster.gpus_per_node else without_gpus(script.read_text())
    refuse_bad_syntax(settings, SETTINGS)
    flags = sbatch_flags(cluster, nodes=config.trainer.num_nodes, devices=config.trainer.devices, run=run)
    command = ["sbatch", "--parsable", "--export=ALL", *flags, str(record / SCRIPT), *of_run]
    refused = faults(config, cluster, home)
    return Job(script, home, run, record, settings, text, command, cluster, asked.recipe, config, resolved, refused)


def faults(config: RunConfig, cluster: Cluster, home: Path) -> list[str]:
    """A sentence for a job of this folder, and for each path that is not there or that the container will not see."""
    run = Path(config.exp_manager.explicit_log_dir)
    here = [*missing(config), *absent(cluster.container, cluster.image, cluster.mounts)]
    if queued := in_the_way(run):
        here.append(queued)
    if cluster.container == "none":
        return here
    paths = reads(config) | {"exp_manager.explicit_log_dir": run}
    return [*here, *unseen(paths, [str(home), str(Path.cwd()), *cluster.mounts])]


def run_settings(config: RunConfig, run: Path) -> str:
    """Shell text: what slurm/frame.sh needs of the run before it can read the configuration, in a container."""
    values: dict[str, object] = {
        "HS2PREF_RUN": run,
        "HS2PREF_NODES": config.trainer.num_nodes,
        "HS2PREF_MARGIN_S": math.ceil(config.exp_manager.save_margin_s),
    }
    return "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in values.items())


def refuse_other_nodes(config: RunConfig, cluster: Cluster) -> None:
    devices, gpus = config.trainer.devices, cluster.gpus_per_node
    if gpus and devices != gpus:
        raise ConfigError(
            f"trainer.devices={devices}, but a node of the cluster has {gpus} GPUs (cluster.gpus_per_node); "
            "choose a layout of that many processes a node"
        )


def submit(job: Job) -> str:
    """Record the job and hand it to sbatch; returns its id. A run that cannot start is not queued."""
    if job.faults:
        raise ConfigError("; ".join(job.faults))
    if shutil.which("sbatch") is None:
        raise InstallationError("sbatch is not here; submit on a login node of the cluster, or look with --dry-run")
    write_record(
        job.record,
        {
            SETTINGS: job.settings,
            "command.sh": job.line,
            SCRIPT: job.text,
            "config.yaml": OmegaConf.to_yaml(job.resolved),
            "environment.txt": about_environment(),
            **about_code(job.home),
        },
    )
    (job.run / "logs").mkdir(exist_ok=True)
    environment = own(os.environ) | job.environment
    done = subprocess.run(job.command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        shutil.rmtree(job.record)
        raise ConfigError(f"sbatch refused the job: {' '.join(done.stderr.split())}")
    job_id = done.stdout.strip().partition(";")[0]  # ID;CLUSTER where there are several
    (job.record / "job_id").write_text(job_id + "\n")
    return job_id


def own(environ: Mapping[str, str]) -> dict[str, str]:
    """Without what SLURM tells a shell inside of a job: the new job's srun would take it for flags."""
    if "SLURM_JOB_ID" not in environ:
        return dict(environ)
    return {name: value for name, value in environ.items() if not OF_A_STEP.match(name)}
