"""The ranks of an srun step: torch's variables from SLURM's, so that `srun hs2pref train rm ...` is all.

Standard library only. The variables are those of sbatch(1) and srun(1).
"""

import re
from collections.abc import Mapping, MutableMapping

FIRST_PORT, NUM_PORTS = 20000, 10000  # below Linux's ephemeral ports, which begin at 32768, and SLURM's srun ports

PLACE = ("RANK", "LOCAL_RANK", "WORLD_SIZE")


def is_placed(environ: Mapping[str, str]) -> bool:
    """A launcher, as torchrun, says which rank this is and of how many; RANK alone says nothing.

    Nor do both for the one task of a step: enroot's hook for images of PyTorch sets them there, too, from SLURM_NTASKS
    (conf/hooks/extra/50-slurm-pytorch.sh). Who is alone needs no place, and may start ranks.
    """
    if "RANK" not in environ or "WORLD_SIZE" not in environ:
        return False
    return environ["WORLD_SIZE"] != "1" or "SLURM_STEP_ID" not in environ or is_rank(environ)


def is_first(environ: Mapping[str, str]) -> bool:
    """The process that writes files and prints results; one that is alone is it too."""
    return int(environ.get("RANK", 0)) == 0


def is_rank(environ: Mapping[str, str]) -> bool:
    """One of several tasks of a step. A batch script and an interactive shell are not: they start ranks."""
    return "SLURM_STEP_ID" in environ and int(environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1


def adopt(environ: MutableMapping[str, str]) -> None:
    """Set RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT for a task of a step that no launcher has placed.

    An address and a port that are set stay. What enroot sets for a task that is alone is taken away.
    """
    if is_placed(environ):
        return
    for name in PLACE:
        environ.pop(name, None)
    if not is_rank(environ):
        return
    environ["RANK"] = environ["SLURM_PROCID"]
    environ["LOCAL_RANK"] = environ["SLURM_LOCALID"]
    environ["WORLD_SIZE"] = environ["SLURM_STEP_NUM_TASKS"]
    nodes = environ.get("SLURM_STEP_NODELIST") or environ["SLURM_JOB_NODELIST"]
    environ.setdefault("MASTER_ADDR", first_host(nodes))
    environ.setdefault("MASTER_PORT", str(port(int(environ["SLURM_JOB_ID"]), int(environ["SLURM_STEP_ID"]))))


def first_host(nodes: str) -> str:
    """The first name of SLURM's list: gpu003-ib of "gpu[003-010,12]-ib,login1".

    `scontrol show hostnames` says the same; a container has no scontrol.
    """
    first = re.match(r"(?:[^,\[]|\[[^]]*\])+", nodes)
    assert first is not None, nodes
    return re.sub(r"\[([^],-]+)[^]]*\]", r"\1", first[0])


def port(job: int, step: int) -> int:
    """Another one for jobs that share a node, and for the steps of a job."""
    return FIRST_PORT + (job + 101 * step) % NUM_PORTS
