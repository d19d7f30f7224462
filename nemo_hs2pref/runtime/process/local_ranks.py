"""Ranks as processes of this machine, for who has neither a cluster nor torchrun.

torch's launcher ends its ranks on SIGTERM and dies of SIGUSR1 (torch 2.6 to 2.13); here both reach the ranks, which
save and stop. Like torch's, the launcher holds the store through which the ranks meet: it outlives each of them, and
where it is killed they end with it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from torch.distributed import TCPStore

from nemo_hs2pref.errors import STOPPED
from nemo_hs2pref.runtime.process.launcher import LAUNCHER

FORWARDED = (signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP)
POLL_S = 0.1
STOP_S = 5.0  # between the signal that asks the ranks to end and the one that ends them


class LocalRanks:
    """`python -m nemo_hs2pref.cli WORDS...` in `count` processes, each the leader of a group of its own."""

    def __init__(self, count: int, words: Sequence[str]) -> None:
        self.received = list[int]()  # signals that were passed on
        self.processes = list[subprocess.Popen[bytes]]()
        for number in FORWARDED:
            signal.signal(number, self._forward)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born without it
        self.store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        command = [sys.executable, "-m", "nemo_hs2pref.cli", *words]
        for rank in range(count):
            environment = os.environ | variables(rank, count, self.store.port)
            self.processes.append(subprocess.Popen(command, env=environment, start_new_session=True))
        for number in self.received:  # while they were started
            self._send(number)

    def wait(self) -> tuple[int, int]:
        """(rank, exit code) of the first that fails, negative where a signal ended it; then no process is left.

        (0, STOPPED) where all have saved and stopped, (0, 0) where all went well.
        """
        try:
            while not (failed := self._failed()):
                if all(process.poll() is not None for process in self.processes):
                    return 0, max(process.returncode for process in self.processes)
                time.sleep(POLL_S)
            self._end(signal.SIGTERM)
            return failed[0]
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one must not leave a rank behind
            self._end(signal.SIGINT)
            raise

    def _failed(self) -> list[tuple[int, int]]:
        codes = [(rank, process.poll()) for rank, process in enumerate(self.processes)]
        return [(rank, code) for rank, code in codes if code not in (None, 0, STOPPED)]

    def _end(self, number: int) -> None:
        """End all ranks, and what they had started and could not end: megatron-core's writers."""
        self._send(number)
        deadline = time.monotonic() + STOP_S
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self.received.append(number)
        self._send(number)

    def _send(self, number: int) -> None:
        for process in self.processes:
            process.send_signal(number)


def variables(rank: int, count: int, port: int) -> dict[str, str]:
    """As torchrun sets them, and who started them."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        LAUNCHER: str(os.getpid()),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the ranks are clients of our store
        "TORCHELASTIC_RESTART_COUNT": "0",  # torch 2.6 asks for it beside
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count))),
    }
