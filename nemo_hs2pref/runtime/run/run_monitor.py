"""What follows a run while it trains: its state file, its wall clock, the signals that ask it to stop."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from nemo_hs2pref.run_state import StateFile
from nemo_hs2pref.runtime.process import stop_signals
from nemo_hs2pref.runtime.process.wall_clock import WallClock

TIME_LIMIT = "time limit"


class RunMonitor:
    """On rank 0 with a state file and a clock; every rank hears its own signals."""

    def __init__(self, state: StateFile | None, clock: WallClock | None) -> None:
        self.state = state
        self.clock = clock

    def flags(self) -> Mapping[str, bool]:
        is_over = self.clock is not None and self.clock.is_over()
        return {TIME_LIMIT: is_over} | {name: name in stop_signals.received for name in stop_signals.REASONS}

    def trained(self, step: int) -> None:
        self._note(phase="training", step=step)

    def validating(self) -> None:
        self._note(phase="validating")

    @contextmanager
    def saving(self, step: int) -> Iterator[None]:
        """The resume state after `step`."""
        started = time.monotonic()
        self._note(phase="saving")
        yield
        seconds = time.monotonic() - started
        if self.clock is not None:
            self.clock.saved(seconds)
        self._note(phase="training", checkpoint="checkpoints/last", checkpoint_step=step, save_s=round(seconds, 3))

    def _note(self, **changes: object) -> None:
        if self.state is not None:
            self.state.note(**changes)
