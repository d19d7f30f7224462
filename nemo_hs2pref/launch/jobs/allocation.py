"""What SLURM gave a job, against what its configuration needs."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nemo_hs2pref.config.durations import format_duration
from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.errors import ConfigError


@dataclass(frozen=True)
class Allocation:
    """Of one job; every node has the same."""

    nodes: int
    gpus: int  # of a node; 0 where SLURM counts none
    processors: int  # of a node
    seconds: float  # left; infinity without a limit

    @classmethod
    def of_job(cls, environ: Mapping[str, str]) -> "Allocation":
        """From the variables of the batch shell, to which slurm/frame.sh adds the end where SLURM does not."""
        return cls(
            int(environ["SLURM_JOB_NUM_NODES"]),
            int(environ.get("SLURM_GPUS_ON_NODE", 0)),
            int(environ["SLURM_CPUS_ON_NODE"]),
            float(environ.get("SLURM_JOB_END_TIME", math.inf)) - time.time(),
        )


def refuse_misfit(config: RunConfig, given: Allocation) -> None:
    """Raise ConfigError with every difference and the flags that would mend it."""
    if faults := [*misfits(config, given)]:
        trainer = config.trainer
        flags = f"--nodes={trainer.num_nodes} --gpus-per-node={trainer.devices}"
        raise ConfigError(
            f"the job does not fit the configuration: {', and '.join(faults)}; submit with {flags} and enough --time, "
            "or choose another layout (parallel=, trainer.num_nodes, trainer.devices)"
        )


def misfits(config: RunConfig, given: Allocation) -> Iterator[str]:
    trainer, margin = config.trainer, config.exp_manager.save_margin_s
    if given.nodes != trainer.num_nodes:
        yield f"it has {given.nodes} nodes, trainer.num_nodes={trainer.num_nodes}"
    if given.gpus and given.gpus != trainer.devices:
        yield f"it has {given.gpus} GPUs a node, trainer.devices={trainer.devices}"
    elif given.processors < trainer.devices:
        yield f"it has {given.processors} processors and no GPU a node, trainer.devices={trainer.devices}"
    if given.seconds <= margin:
        left = format_duration(max(0.0, given.seconds))
        yield f"it has {left} left, all of which exp_manager.save_margin_s={margin:g} keeps for saving"
