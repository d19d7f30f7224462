"""Which node this is, by the variables of srun; without them the only one."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """One of the nodes that are looked at together."""

    name: str
    index: int  # from 0
    count: int
    step: str  # the same on all of them, another at every start

    @property
    def is_first(self) -> bool:
        return self.index == 0

    @classmethod
    def here(cls, environ: Mapping[str, str]) -> "Node":
        """SLURM_STEP_NUM_NODES is set in a step alone: a batch shell speaks for its own node."""
        name = environ.get("SLURMD_NODENAME") or socket.gethostname()
        count = int(environ.get("SLURM_STEP_NUM_NODES", 1))
        if count == 1:
            return cls(name, 0, 1, "by-hand")
        parts = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
        return cls(name, int(environ["SLURM_NODEID"]), count, "-".join(environ.get(part, "0") for part in parts))
