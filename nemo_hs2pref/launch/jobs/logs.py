"""What slurm/frame.sh leaves in RUN/logs: one folder a start, whose driver.log ends with the line that says it all."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

FOLDER = re.compile(r"(?P<job>\d+)(?:-r(?P<restart>\d+))?")
ENDED = " ended: "
BEGUN = re.compile(r"\S+Z \d+:\d\d:\d\d job \d+ on ")  # the first line of a start, which its check has passed
REFUSED = "hs2pref: "  # how one begins that ended a start before
TIME_LIMIT_S = 20  # a controller that is busy
NO_ANSWER = "NOT KNOWN (squeue does not answer)"
UNKNOWN_JOB = "Invalid job id"  # squeue's words for one that has ended long ago; it has no code for it


@dataclass(frozen=True)
class JobLogs:
    """The newest start of a run under SLURM."""

    job: str
    folder: Path

    @property
    def driver(self) -> list[str]:
        file = self.folder / "driver.log"
        return file.read_text(errors="replace").splitlines() if file.is_file() else []

    @property
    def last_line(self) -> str | None:
        """The line of the end where there is one, else the newest."""
        lines = self.driver
        return next((line for line in reversed(lines) if ENDED in line), lines[-1] if lines else None)

    @property
    def has_ended(self) -> bool:
        return any(ENDED in line for line in self.driver)


def newest_logs(run: Path) -> JobLogs | None:
    """None where the run was never a job."""
    found = [
        (int(match["job"]), int(match["restart"] or 0), path)
        for path in (run / "logs").glob("*/")
        if (match := FOLDER.fullmatch(path.name))
    ]
    if not found:
        return None
    job, _, path = max(found, key=lambda entry: (entry[2].stat().st_mtime, *entry[:2]))
    return JobLogs(str(job), path)


def refusal(run: Path, job: str) -> str | None:
    """Why the job's newest start ended before it had a folder, in sbatch's file; None where it has one."""
    file = run / "logs" / f"job-{job}.out"
    said = None
    for line in file.read_text(errors="replace").splitlines() if file.is_file() else []:
        if line.startswith(REFUSED):
            said = line
        elif BEGUN.match(line):
            said = None
    return said


def submitted_job(run: Path) -> str | None:
    """The id of the job that `hs2pref submit` queued last."""
    files = sorted((run / "submissions").glob("*/job_id"))
    job = files[-1].read_text(errors="replace").strip() if files else ""
    return job if re.fullmatch("[0-9]+", job) else None


def in_the_way(run: Path) -> str | None:
    """Why no other job of this folder may be queued: one waits or runs, or may, where squeue does not answer."""
    logs = newest_logs(run)
    for job in sorted({submitted_job(run), logs.job if logs else None} - {None}, key=str):
        queue = queue_state(str(job))
        if queue == NO_ANSWER:
            return (
                f"{run.absolute()}: squeue does not answer, and job {job} of this folder may be in the queue; try later"
            )
        if not is_over(queue):
            return f"{run.absolute()}: job {job} of this folder is in the queue; wait, or `scancel {job}`"
    return None


def is_over(queue: str | None) -> bool:
    """By what `queue_state` says."""
    return queue is None or queue.startswith("COMPLETING")


def queue_state(job: str) -> str | None:
    """As squeue says, RUNNING or PENDING (Resources); None where it does not know the job, or is not here.

    NO_ANSWER where it fails: a controller that is busy or away has forgotten nothing.
    """
    words = ["squeue", "--noheader", "--jobs", job, "--format", "%T %R"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False)
    except FileNotFoundError:
        return None
    except (OSError, subprocess.TimeoutExpired):
        return NO_ANSWER
    if done.returncode:
        return None if UNKNOWN_JOB in done.stderr else NO_ANSWER
    state, _, reason = done.stdout.strip().partition(" ")
    return (state if state == "RUNNING" else f"{state} {reason}".strip()) or None
