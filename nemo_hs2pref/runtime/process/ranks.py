"""The ranks of a run: joined before anything can fail, and agreed on which of them failed first.

A failure is rarely alone: every rank reads the same bad row, and a rank that dies breaks the collectives of the
others. The first to fail puts its name into the store through which the ranks met, and it alone speaks.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import torch

from nemo_hs2pref.errors import HS2PrefError, MachineError, OtherRankError
from nemo_hs2pref.runtime.process import stop_signals

COLLECTIVE_TIMEOUT = timedelta(minutes=30)  # Lightning's, which would otherwise join the group
# Errors that another rank's death may have caused wait, so that that rank or the launcher reports first. All waits
# together stay below ten seconds; a launcher needs 0.1 s to see a dead process.
PATIENCE_S = 3.0  # for an unexpected exception
LONG_PATIENCE_S = 6.0  # for an error that certainly began on another rank, which may itself be waiting PATIENCE_S
FAREWELL_S = 2.0  # after the agreement: no rank ends before the first has reported, or takes the store away
FIRST, FAILED, SPOKEN = "first_failure", "failed_ranks", "first_failure_is_printed"  # keys of the store


@dataclass(frozen=True)
class Ranks:
    """This process among the ranks of a run."""

    store: torch.distributed.Store
    rank: int
    size: int

    def fail(self, error: Exception, exit_code: int, speak: Callable[[str], None]) -> int:
        """The exit code of all ranks. Calls `speak(where)` on the first rank to fail alone; where is "rank 1: " or "".

        A rank that gets SIGTERM while it waits prints nothing: another rank was killed, and the launcher that sent
        SIGTERM reports it.
        """
        patience = patience_s(error)
        wait(patience, until=lambda: self._is_set(FIRST) or stop_signals.came("SIGTERM", within_s=patience))
        if stop_signals.came("SIGTERM", within_s=patience) and not self._is_set(FIRST):
            return 128 + signal.SIGTERM
        try:
            first, code = map(int, self.store.compare_set(FIRST, "", f"{self.rank} {exit_code}").split())
            self.store.add(FAILED, 1)
        except RuntimeError:  # the store went with the process that held it
            first, code = self.rank, exit_code
        if first != self.rank:
            wait(FAREWELL_S, until=lambda: self._is_set(SPOKEN))
            return code
        speak(f"rank {self.rank}: " if self.size > 1 else "")
        with suppress(RuntimeError):
            self.store.set(SPOKEN, "")
            wait(FAREWELL_S, until=lambda: self.store.add(FAILED, 0) == self.size)
        return code

    def leave(self) -> None:
        """After a run that went well; together, because srun and torchrun end all when one exits with another code."""
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()

    def _is_set(self, key: str) -> bool:
        with suppress(RuntimeError):
            return self.store.check([key])
        return False


def wait(seconds: float, until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not until():
        time.sleep(0.05)


def patience_s(error: Exception) -> float:
    if isinstance(error, OtherRankError):
        return LONG_PATIENCE_S
    return 0.0 if isinstance(error, HS2PrefError) else PATIENCE_S


def join() -> Ranks:
    """Join the process group of the launcher's variables: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT.

    Lightning and NeMo find it initialised and leave it alone (Lightning 2.4, _init_dist_connection).
    """
    has_cuda = torch.cuda.is_available()
    if has_cuda:
        take_gpu(int(os.environ["LOCAL_RANK"]))
    store, rank, size = next(torch.distributed.rendezvous("env://", timeout=COLLECTIVE_TIMEOUT))
    torch.distributed.init_process_group(
        "nccl" if has_cuda else "gloo", store=store, rank=rank, world_size=size, timeout=COLLECTIVE_TIMEOUT
    )
    return Ranks(store, rank, size)


def take_gpu(local_rank: int) -> None:
    visible = torch.cuda.device_count()
    if local_rank >= visible:
        raise MachineError(  # preflight has counted them: one may be gone
            f"process {local_rank} of its node sees {visible} GPU(s); every process must see all GPUs of the node, so "
            "start srun without --gpus-per-task and with --gpu-bind=none, and no more processes than GPUs"
        )
    torch.cuda.set_device(local_rank)
