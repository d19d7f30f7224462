"""What the operating system or the container grants a process."""

import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.preflight.check import Finding, ok, warning

GIB = 2**30
SHARED_MEMORY = Path("/dev/shm")
INFINIBAND = Path("/sys/class/infiniband")
SHARED_BYTES = GIB  # NCCL and gloo pass data between the processes of a node through it; Docker gives 64 MB  [ours]
OPEN_FILES, OPEN_FILES_A_RANK = 1024, 16  # sockets of NCCL's channels and of the store, on the first node [ours]


def look_at_limits(
    config: RunConfig | None, shared_memory: Path = SHARED_MEMORY, infiniband: Path = INFINIBAND
) -> Iterator[Finding]:
    """Shared memory, open files, and locked memory where there is InfiniBand."""
    size = size_of(shared_memory)
    if size < SHARED_BYTES:
        hint = "give the container more: --shm-size=16g, or --ipc=host; enroot and apptainer use the node's"
        yield warning(f"{shared_memory} has {size / GIB:.2f} GiB, expected {SHARED_BYTES / GIB:g} or more", hint)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    world = config.trainer.num_nodes * config.trainer.devices if config else 1
    if files != resource.RLIM_INFINITY and files < max(OPEN_FILES, OPEN_FILES_A_RANK * world):
        wanted = max(OPEN_FILES, OPEN_FILES_A_RANK * world)
        yield warning(f"{files} open files a process, expected {wanted} or more", "ulimit -n, before sbatch")
    locked, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if locked != resource.RLIM_INFINITY and infiniband.is_dir() and any(infiniband.iterdir()):
        hint = "ulimit -l unlimited; SLURM: PropagateResourceLimitsExcept=MEMLOCK and LimitMEMLOCK of slurmd"
        yield warning(f"{locked} bytes of memory may be locked, and InfiniBand locks its buffers", hint)
    shown = ", ".join(
        (f"{shared_memory} {size / GIB:.1f} GiB", f"open files {named(files)}", f"locked {named(locked)}")
    )
    yield ok(shown)


def named(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else str(limit)


def size_of(folder: Path) -> int:
    """Bytes of the file system; 0 where there is none."""
    if not folder.is_dir():
        return 0
    found = os.statvfs(folder)
    return found.f_blocks * found.f_frsize


def look_at_temporary() -> Iterator[Finding]:
    """TMPDIR can be written to and has room for what libraries put there."""
    folder = Path(tempfile.gettempdir())
    with tempfile.NamedTemporaryFile(prefix="hs2pref-", dir=folder) as file:
        file.write(b"written")
        file.flush()
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free < GIB:
        yield warning(f"{folder} has {free / GIB:.2f} GiB free", "clear it, or point TMPDIR elsewhere")
    yield ok(f"{folder} can be written to, {free / GIB:.1f} GiB free")
