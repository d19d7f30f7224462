"""Where a run stands, read back from its folder and, where it is a job, from squeue."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from nemo_hs2pref.config.durations import format_duration
from nemo_hs2pref.decode import from_json
from nemo_hs2pref.errors import ConfigError, HS2PrefError
from nemo_hs2pref.launch.jobs.logs import NO_ANSWER, JobLogs, is_over, newest_logs, queue_state, refusal, submitted_job
from nemo_hs2pref.run_state import Failure, RunState, read_failure, read_state

SILENT_S = 1800.0  # a run that nobody vouches for and that wrote nothing for so long is not running
RECENT = 20  # steps over which the rate is measured
TAIL_BYTES = 1 << 20  # of metrics.jsonl


@dataclass(frozen=True)
class Status:
    """Of one run folder."""

    outcome: str  # finished, running, waiting, stopped or failed
    phase: str  # of the trainer, see run_state.PHASES; "not started"
    step: int
    num_steps: int | None
    step_s: float | None  # seconds a step: the median of the last ones
    left_s: float | None  # to the last step, while it runs
    checkpoint: str | None
    checkpoint_step: int
    starts: int
    updated: str | None  # when the trainer last wrote
    job: str | None
    queue: str | None  # as squeue says
    message: str | None  # how the last start ended; else the newest line


def read_status(run: Path) -> Status:
    """Raises ConfigError where `run` is no run folder."""
    state, failure, logs, job = read_state(run), read_failure(run), newest_logs(run), submitted_job(run)
    if state is None and failure is None and logs is None and job is None:
        raise ConfigError(f"{run}: no run has started here; expected exp_manager.explicit_log_dir of a run")
    if logs is not None:
        job = max(job or "0", logs.job, key=int)
    queue = queue_state(job) if job else None
    refused = refusal(run, job) if job else None
    is_new = logs is None or job != logs.job
    outcome = "failed" if refused and is_over(queue) else outcome_of(state, failure, logs, queue, is_new)
    step_s = seconds_a_step(run / "metrics.jsonl")
    step, num_steps = (state.step, state.num_steps) if state else (0, None)
    return Status(
        outcome=outcome,
        phase=state.phase if state else "not started",
        step=step,
        num_steps=num_steps,
        step_s=step_s,
        left_s=time_left(outcome, step, num_steps, step_s),
        checkpoint=str(run / state.checkpoint) if state and state.checkpoint else None,
        checkpoint_step=state.checkpoint_step if state else 0,
        starts=state.starts if state else 0,
        updated=state.updated if state else None,
        job=job,
        queue=queue,
        message=refused or message_of(failure, logs),
    )


def time_left(outcome: str, step: int, num_steps: int | None, step_s: float | None) -> float | None:
    if outcome != "running" or num_steps is None or step_s is None:
        return None
    return step_s * (num_steps - step)


def outcome_of(
    state: RunState | None, failure: Failure | None, logs: JobLogs | None, queue: str | None, is_new: bool
) -> str:
    """A queue that knows the job knows best; without one, what the trainer and the job script wrote last.

    is_new: the job has written nothing yet, so that all there is was another's.
    """
    is_queued = queue != NO_ANSWER and not is_over(queue)  # without an answer, by what is written
    if state is not None and state.phase == "finished" and not (is_queued and is_new):
        return "finished"
    if is_queued:
        return "running" if queue == "RUNNING" else "waiting"
    if logs is not None and logs.has_ended:
        return "stopped" if " stopped in time" in (logs.last_line or "") else "failed"
    if failure is not None:
        return "failed"
    if state is not None and state.phase == "stopped":
        return "stopped"
    return "running" if state is not None and silence_s(state) < SILENT_S else "failed"


def silence_s(state: RunState) -> float:
    return time.time() - datetime.fromisoformat(state.updated).timestamp()


def message_of(failure: Failure | None, logs: JobLogs | None) -> str | None:
    if logs is not None:
        return logs.last_line
    return f"rank {failure.rank}: {''.join(failure.message.splitlines()[-1:])}" if failure else None


def seconds_a_step(metrics: Path) -> float | None:
    """The median over the last steps; None before the first. Reads the end of the file alone."""
    if not metrics.is_file():
        return None
    with metrics.open("rb") as file:
        file.seek(max(0, metrics.stat().st_size - TAIL_BYTES))
        lines = file.read().splitlines()
    seconds = [row.step_s for row in map(parsed, lines) if row.step_s is not None]
    return median(seconds[-RECENT:]) if seconds else None


@dataclass(frozen=True)
class Line:
    """Of metrics.jsonl, what is read here."""

    step_s: float | None = None


def parsed(line: bytes) -> Line:
    """Empty for a line that is cut, or of something else."""
    try:
        return from_json(Line, line, "")
    except HS2PrefError:
        return Line()


def lines(run: Path, status: Status) -> Iterator[str]:
    """For a person."""
    steps = f"step {status.step} of {status.num_steps}" if status.num_steps is not None else "no step"
    rate = f", {status.step_s:.3g} s a step" if status.step_s is not None else ""
    left = f", {format_duration(status.left_s)} left" if status.left_s is not None else ""
    yield f"{run}: {status.outcome}, {steps}{rate}{left}"
    if status.job:
        yield f"job {status.job}: {status.queue or 'not in the queue'}"
    yield f"phase {status.phase}, start {status.starts}" + (f", last heard {status.updated}" if status.updated else "")
    if status.checkpoint:
        yield f"last checkpoint {status.checkpoint} of step {status.checkpoint_step}"
    if status.message:
        yield status.message
