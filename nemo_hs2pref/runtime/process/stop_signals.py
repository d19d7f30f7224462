"""Signals that ask a run to save and stop: SIGUSR1, SIGTERM. A process has one set of handlers, so this is a module.

SIGTERM also reaches ranks that can save no more, because another rank was killed: srun, torchrun and `hs2pref train`
send it to all others. A rank that then waits in a collective never comes to its next step; it ends after GRACE_S.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType

REASONS = ("SIGUSR1", "SIGTERM")
# SLURM (KillWait), torchrun and Kubernetes send SIGKILL 30 s after SIGTERM. Whoever is not saving well before that
# will not have saved by then.
GRACE_S = 20.0

received: dict[str, float] = {}  # name of a signal -> when it came last, time.monotonic()
excused = threading.Event()  # set while a step's end is near or past: a save, a stop that is agreed


def catch(*numbers: signal.Signals) -> None:
    """From now on the signals are noted and nothing else."""
    for number in numbers:
        signal.signal(number, note)


def note(number: int, frame: FrameType | None) -> None:
    received[signal.Signals(number).name] = time.monotonic()


def await_usr1() -> None:
    """From now on SIGUSR1 is noted; a job script that waits for the line is told (slurm/frame/step.sh)."""
    if line := os.environ.pop("HS2PREF_BEGUN", None):
        catch(signal.SIGUSR1)
        print(line, flush=True)


def came(name: str, within_s: float) -> bool:
    return name in received and time.monotonic() - received[name] < within_s


def catch_term() -> None:
    """SIGTERM asks for a save from now on; where no step ends within GRACE_S of it, the process ends.

    Python runs its handlers between two of its own instructions, never within a collective, so a thread reads what
    the C handler writes into the wake-up descriptor.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=end_when_late, args=(reader,), name="stop-signals", daemon=True).start()
    catch(signal.SIGTERM)


def end_when_late(reader: int) -> None:
    while number := os.read(reader, 1):
        if number[0] == signal.SIGTERM and not excused.wait(GRACE_S):
            print(f"SIGTERM came and no step ended within {GRACE_S:.0f} s; ended without saving", file=sys.stderr)
            sys.stderr.flush()
            os._exit(128 + signal.SIGTERM)


@contextmanager
def saving() -> Iterator[None]:
    """No signal disturbs a save: processes that are started within never see one, this one notes it as ever.

    A signal that is sent to all processes of a job would otherwise end megatron-core's writers. They inherit the mask
    of the thread that starts them; another thread of this process receives what is sent to the process.
    """
    was_excused = excused.is_set()
    excused.set()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    resource_tracker.ensure_running()  # it would unblock SIGTERM when the first process is spawned (CPython 3.11)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if not was_excused:
            excused.clear()
