"""The cluster that a job is for (conf/cluster/): sbatch's flags, and the settings of slurm/frame.sh."""

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING

from nemo_hs2pref.config.durations import parse_duration
from nemo_hs2pref.config.load import load_config
from nemo_hs2pref.config.schema.fields import key
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.launch.jobs.container import refuse_container
from nemo_hs2pref.masking import is_secret, is_secret_name

EARLY_S = 60  # sbatch(1), --signal
GROUP = re.compile(r"[+~]*cluster[=.]")  # words of the command line that are the cluster's
SETTINGS = {  # of slurm/frame.sh
    "container": "HS2PREF_CONTAINER",
    "image": "HS2PREF_IMAGE",
    "python": "HS2PREF_PYTHON",
    "mpi": "HS2PREF_MPI",
    "max_failures": "HS2PREF_MAX_FAILURES",
}


@dataclass
class Cluster:
    """cluster: what conf/cluster/plain.yaml explains."""

    account: str | None = MISSING
    partition: str | None = MISSING
    time: str = MISSING
    signal_s: int = MISSING
    gpus_per_node: int = MISSING
    gpu_memory: float = MISSING
    sbatch_flags: list[str] = MISSING
    container: str = MISSING
    image: str | None = MISSING
    mounts: list[str] = MISSING
    python: str | None = MISSING
    mpi: str | None = MISSING
    max_failures: int = MISSING
    environment: dict[str, str] = key(is_open=True)


@dataclass
class Submission:
    """conf/submit.yaml."""

    cluster: Cluster = field(default_factory=Cluster)


def split_overrides(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """(the cluster's, the run's)."""
    return [word for word in words if GROUP.match(word)], [word for word in words if not GROUP.match(word)]


def load_cluster(overrides: Sequence[str]) -> Cluster:
    """Raises ConfigError for an unknown cluster or key, or a value that cannot be."""
    submission, _ = load_config("submit", overrides, Submission)
    cluster = submission.cluster
    refuse_container(cluster.container, cluster.image, cluster.mounts)
    refuse_short_time(cluster)
    refuse_variables(cluster.environment)
    return cluster


def refuse_variables(environment: Mapping[str, str]) -> None:
    for name, value in environment.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise ConfigError(f"cluster.environment.{name}: no name of a variable")
        if is_secret_name(name) or is_secret(value):
            raise ConfigError(
                f"cluster.environment.{name} looks like a secret, and would stand in clear in the run folder; leave it "
                f"out and export {name} before `hs2pref submit`: a job has the environment that it was submitted with"
            )


def refuse_short_time(cluster: Cluster) -> None:
    """SLURM's signal may come a minute early; where it comes at once the job is requeued without end."""
    try:
        seconds = parse_duration(cluster.time)
    except ConfigError as error:
        raise ConfigError(f"cluster.time: {error}") from None
    if seconds <= cluster.signal_s + EARLY_S:
        raise ConfigError(
            f"cluster.time={cluster.time} leaves nothing for training: the run is asked to stop "
            f"cluster.signal_s={cluster.signal_s} s before, and SLURM may be {EARLY_S} s early"
        )


def sbatch_flags(cluster: Cluster, *, nodes: int, devices: int, run: Path) -> list[str]:
    """For `nodes` nodes with `devices` processes each; they go before the #SBATCH lines of the script."""
    named = {"account": cluster.account, "partition": cluster.partition}
    return [
        f"--job-name={job_name(run)}",
        "--dependency=singleton",  # two jobs in one folder would remove each other's checkpoints
        *(f"--{name}={value}" for name, value in named.items() if value is not None),
        f"--nodes={nodes}",
        f"--ntasks-per-node={devices}",
        *([f"--gpus-per-node={cluster.gpus_per_node}"] if cluster.gpus_per_node else []),
        f"--time={cluster.time}",
        f"--signal=B:USR1@{cluster.signal_s}",
        f"--output={str(run).replace('%', '%%')}/logs/job-%j.out",
        *cluster.sbatch_flags,
    ]


def job_name(run: Path) -> str:
    """Of all jobs in the run folder, and of no other folder's."""
    return f"hs2pref-{run.name}-{hashlib.sha256(bytes(run.resolve())).hexdigest()[:8]}"


def without_gpus(script: str) -> str:
    """A job script for a cluster that counts no GPUs, which refuses a job that asks for some."""
    return re.sub(r"^#SBATCH --gpus.*\n", "", script, flags=re.MULTILINE)


def settings_file(cluster: Cluster) -> str:
    """Shell text that slurm/frame.sh sources: what of the cluster the job itself must know."""
    values: dict[str, object] = {variable: getattr(cluster, key) for key, variable in SETTINGS.items()}
    if cluster.container == "none":
        del values["HS2PREF_IMAGE"]
    values["HS2PREF_MOUNTS"] = ",".join(cluster.mounts) or None
    values |= cluster.environment
    given = {name: str(value) for name, value in values.items() if value is not None}
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in given.items())
