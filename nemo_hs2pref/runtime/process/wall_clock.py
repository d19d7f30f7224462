"""How long a run may go on: a limit of its own and the end of its job, with time left to save."""

import math
import os
import shutil
import subprocess
import time
from collections.abc import Mapping

from nemo_hs2pref.config.durations import parse_duration
from nemo_hs2pref.errors import ConfigError

GROWTH = 1.5  # times the last save are kept free for the next; a shared file system is not always as fast
SQUEUE_LIMIT_S = 20.0  # a controller that is busy


class WallClock:
    """Says when it is time to save and stop. Asked on one rank, at every step."""

    def __init__(self, end: float, *, margin_s: float, last_save_s: float = 0.0) -> None:
        """`end` is a time of the system's clock in seconds, infinity for never; margin_s is kept free for saving."""
        self.end = end
        self.margin_s = margin_s
        self.asked: float | None = None  # when; the first time after the first step
        self.longest_s = 0.0  # between two questions: a step, with what comes between it and the next
        self.saved(last_save_s)

    def is_over(self) -> bool:
        """There may be no time to ask once more and then save."""
        now = time.time()
        if self.asked is not None:
            self.longest_s = max(self.longest_s, now - self.asked)
        self.asked = now
        return now + self.longest_s + self.margin_s >= self.end

    def saved(self, seconds: float) -> None:
        """The margin grows with what a save really takes."""
        self.margin_s = max(self.margin_s, GROWTH * seconds)


def end_of_run(max_time: str | None, started: float, environ: Mapping[str, str] = os.environ) -> float:
    """The earlier of the job's end and the run's own limit, counted from the job's start or else from `started`."""
    began = float(environ.get("SLURM_JOB_START_TIME", started))
    return min(end_of_job(environ), began + (parse_duration(max_time) if max_time else math.inf))


def end_of_job(environ: Mapping[str, str]) -> float:
    """As SLURM's variable says, or squeue: SLURM 22.05 sets no variable. Infinity outside of a job.

    A container has no squeue: who starts it sets the variable.
    """
    if "SLURM_JOB_END_TIME" in environ:
        return float(environ["SLURM_JOB_END_TIME"])
    if "SLURM_JOB_ID" not in environ or shutil.which("squeue", path=environ.get("PATH")) is None:
        return math.inf
    return time.time() + time_left(environ["SLURM_JOB_ID"], environ)


def time_left(job: str, environ: Mapping[str, str]) -> float:
    """Seconds that squeue gives; infinity where it does not know, as for a job without a limit."""
    try:
        asked = subprocess.run(
            ["squeue", "--noheader", "--jobs", job, "--format", "%L"],
            capture_output=True, text=True, timeout=SQUEUE_LIMIT_S, check=False, env=dict(environ),
        )  # fmt: skip
        return parse_duration(asked.stdout)
    except (OSError, subprocess.TimeoutExpired, ConfigError):
        return math.inf
