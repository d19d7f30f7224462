"""One start at a time in a run folder: a lock on RUN/run.lock, which all processes of a start hold while they live.

The first rank takes it for itself alone, writes into the file who it is, and from then on shares it with the other
ranks. So the next start gets in once no process of the one before is left, however they ended: the kernel lets go of
a lock, and nobody has to remove anything. A process that a rank forks, as megatron-core's writers, holds it too.

flock reaches other nodes over NFS and Lustre (mounted with `-o flock`). Where a file system has no locks the log says
so.
"""

import errno
import fcntl
import json
import logging
import os
import socket
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from nemo_hs2pref.decode import from_json
from nemo_hs2pref.errors import HS2PrefError, TrainingError, kind_of

LOCK = "run.lock"
PATIENCE_S = 10.0  # for a start that is just going
# For what a dead start has left: one that is killed while it waits for the disk ends when that answers, and a file
# server keeps the locks of a node that crashed, NFS for 90 s.
LEFTOVER_S = 120.0
POLL_S = 0.1
NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """Who works in a run folder, by its first rank."""

    host: str
    pid: int
    job: str | None  # SLURM's
    since: str  # ISO 8601 in UTC

    def __str__(self) -> str:
        job = f", SLURM job {self.job!r}" if self.job else ""
        return f"process {self.pid} on {self.host!r}{job}, since {self.since!r}"


class RunLock:
    """The lock of one run folder, as this process has it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / LOCK
        self.descriptor: int | None = None

    def claim(self) -> None:
        """Of the first rank; TrainingError names who else works in the folder. Makes the folder; harmless to repeat."""
        if self.descriptor is None:
            self._open()
            self._take_alone()
            self._name_holder()
            self._share()

    def join(self) -> None:
        """Of the other ranks, once the first has claimed it."""
        if self.descriptor is None:
            self._open()
            self._share()

    def refuse_held(self) -> None:
        """For whoever starts the ranks, and has no use of the lock: TrainingError where another start has it."""
        if self.folder.is_dir():
            self._open()
            self._take_alone()
            self.release()

    def release(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def _open(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise kind_of(error, TrainingError)(
                f"{self.path}: cannot be written ({error.strerror or error}); a run needs a folder that it may write"
            ) from None

    def _take_alone(self) -> None:
        deadline = time.monotonic() + self._patience_s()
        while not self._lock(fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                self._refuse()
            time.sleep(POLL_S)

    def _share(self) -> None:
        """The kernel lets go before it locks again: another start may have come in between, and this one goes."""
        if not self._lock(fcntl.LOCK_SH):
            self._refuse()

    def _lock(self, kind: int) -> bool:
        assert self.descriptor is not None
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise kind_of(error, TrainingError)(
                    f"{self.path}: cannot be locked ({error.strerror or error})"
                ) from None
            if kind == fcntl.LOCK_EX:
                logger.warning(
                    "%s: the file system has no locks (%s): nothing keeps a second start out of this folder",
                    self.path, error.strerror,
                )  # fmt: skip
        return True

    def _patience_s(self) -> float:
        holder = self._holder()
        works = holder is None or (holder.host == socket.gethostname() and Path(f"/proc/{holder.pid}").exists())
        return PATIENCE_S if works else LEFTOVER_S

    def _refuse(self) -> None:
        holder = self._holder()
        self.release()
        raise TrainingError(
            f"{self.folder}: another start works in this folder, "
            f"{holder or 'which has not said who it is'}; wait for it or end it, or choose another "
            "exp_manager.explicit_log_dir"
        )

    def _name_holder(self) -> None:
        assert self.descriptor is not None
        since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        holder = Holder(socket.gethostname(), os.getpid(), os.environ.get("SLURM_JOB_ID"), since)
        try:
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, (json.dumps(asdict(holder)) + "\n").encode(), 0)
        except OSError as error:
            raise kind_of(error, TrainingError)(f"{self.path}: cannot be written ({error.strerror or error})") from None

    def _holder(self) -> Holder | None:
        """None where the file is empty, or holds anything else."""
        try:
            return from_json(Holder, self.path.read_bytes(), self.path)
        except (OSError, HS2PrefError):
            return None
