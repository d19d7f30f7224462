"""Where a run stands, in small files of its folder that others read while it goes: a shell, `hs2pref status`.

    run_state.json   phase, last step, last checkpoint; rank 0 writes it at every step and change of phase
    failure.json     the rank that failed first, its message and exit code; a new start removes it
    finished.json    the last step is reached: a start of the same run ends at once; a longer run removes it

Each is replaced whole, and is on the disk before it takes its name: a node that crashes leaves the file before it. One
that is no JSON all the same, as after a crash of the file server, counts as absent; the checkpoints say the rest. JSON
with something else in it than we write is refused: no crash leaves that. Times are ISO 8601 in UTC, paths are relative
to the run's folder.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from nemo_hs2pref.decode import from_file, from_plain, parse_file
from nemo_hs2pref.errors import CheckpointError, HS2PrefError, TrainingError, kind_of
from nemo_hs2pref.files import whole

STATE, FAILURE, FINISHED = "run_state.json", "failure.json", "finished.json"
Phase = Literal["starting", "training", "validating", "saving", "stopped", "finished", "failed"]
PHASES = get_args(Phase)
MOST_OFTEN_S = 1.0  # between two writes of which only the step differs: each waits for the disk
Record = TypeVar("Record", "RunState", "Failure", "Finished")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunState:
    """What rank 0 knows."""

    phase: Phase
    step: int  # optimizer steps done
    num_steps: int | None  # None where the file was lost and a checkpoint tells the rest
    started: str  # time of this start, not of the run's first
    updated: str
    starts: int = 1  # of this run, resumes included
    checkpoint: str | None = None  # the resume state
    checkpoint_step: int = 0
    save_s: float = 0.0  # seconds that the last save of a resume state took
    reason: str = ""  # of the phase stopped: SIGUSR1, SIGTERM, time limit

    def __post_init__(self) -> None:
        for name, text in (("started", self.started), ("updated", self.updated)):
            try:
                datetime.fromisoformat(text).timestamp()
            except (ValueError, OverflowError):
                raise ValueError(f"has {name!r} {text!r}, which is no time in ISO 8601") from None


@dataclass(frozen=True)
class Failure:
    """What ended a run before its last step."""

    rank: int
    message: str  # a sentence, or a traceback
    exit_code: int
    time: str


@dataclass(frozen=True)
class Finished:
    """A run that has reached its end; `run` is what a start must ask for to be the same."""

    step: int
    checkpoint: str
    run: Mapping[str, Any]
    time: str


class StateFile:
    """Writes run_state.json; one process a run has one."""

    def __init__(self, folder: Path, *, step: int, num_steps: int, checkpoint: str | None, started: float) -> None:
        """A start at `started`, after `step`; earlier ones are counted, and how they ended is forgotten."""
        self.folder = folder
        before = read_state(folder)
        self.state = RunState(
            "starting",
            step,
            num_steps,
            started=as_text(started),
            updated=now(),
            starts=before.starts + 1 if before else 1,
            checkpoint=checkpoint,
            checkpoint_step=step if checkpoint else 0,
            save_s=before.save_s if before else 0.0,
        )
        (folder / FINISHED).unlink(missing_ok=True)
        failure = read_failure(folder)
        if failure is None or failure.time < self.state.started:  # and not another rank's, of this start
            (folder / FAILURE).unlink(missing_ok=True)
        self._write()

    def note(self, **changes: Any) -> None:
        before, self.state = self.state, replace(self.state, updated=now(), **changes)
        is_step_alone = replace(before, step=self.state.step, updated=self.state.updated) == self.state
        if not is_step_alone or time.monotonic() - self.written >= MOST_OFTEN_S:
            self._write()

    def _write(self) -> None:
        write(self.folder / STATE, self.state)
        self.written = time.monotonic()

    def finish(self, run: Mapping[str, Any]) -> None:
        assert self.state.checkpoint is not None
        write(self.folder / FINISHED, Finished(self.state.step, self.state.checkpoint, run, now()))
        self.note(phase="finished")


def read_state(folder: Path) -> RunState | None:
    """None where no run has started; phase failed where the last start ended in a failure that was recorded."""
    state = read(folder / STATE, RunState) or recovered(folder)
    return replace(state, phase="failed") if state and (folder / FAILURE).exists() else state


@dataclass(frozen=True)
class Saved:
    """What a checkpoint's manifest says of the run."""

    step: int


def recovered(folder: Path) -> RunState | None:
    """What the resume state tells of a run whose state cannot be read; None without a state or without a checkpoint."""
    from nemo_hs2pref.checkpoint.layout import MANIFEST, resume_path  # heavy: OmegaConf

    file, checkpoint = folder / STATE, resume_path(folder / "checkpoints")
    if checkpoint is None or not file.exists():
        return None
    step = from_file(Saved, checkpoint / MANIFEST, CheckpointError).step
    updated = as_text(file.stat().st_mtime)
    return RunState(
        "training", step, None, started=updated, updated=updated,
        checkpoint=str(checkpoint.relative_to(folder)), checkpoint_step=step,
    )  # fmt: skip


def read_failure(folder: Path) -> Failure | None:
    return read(folder / FAILURE, Failure)


def read_finished(folder: Path) -> Finished | None:
    return read(folder / FINISHED, Finished)


def record_failure(folder: Path, *, rank: int, message: str, exit_code: int) -> None:
    """Called by the one process that knows the first cause; a folder that does not exist or is full keeps silent."""
    try:
        write(folder / FAILURE, Failure(rank, message, exit_code, now()))
    except HS2PrefError:
        return  # the failure is on the screen, and may itself be that the disk is full


def write(path: Path, record: RunState | Failure | Finished) -> None:
    with one_sentence(path), whole(path, on_disk=True) as temporary:
        temporary.write_text(json.dumps(asdict(record), indent=1) + "\n")


def read(path: Path, kind: type[Record]) -> Record | None:
    """None, with a warning, where the file is no JSON; raises TrainingError where it is, and no `kind`."""
    try:
        stored = parse_file(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("%s: cannot be read (%s); it counts as absent", path, error)
        return None
    try:
        return from_plain(kind, stored, path, TrainingError)
    except TrainingError as error:
        raise TrainingError(f"{error}; remove the file, the checkpoints tell where the run stands") from None


@contextmanager
def one_sentence(path: Path) -> Iterator[None]:
    """What the system says when a file of the run's folder cannot be written, as a full disk."""
    try:
        yield
    except OSError as error:
        raise kind_of(error, TrainingError)(
            f"{path}: cannot be written ({error.strerror or error}); put that right and start again, "
            "the run goes on from its last checkpoint"
        ) from error


def now() -> str:
    return as_text(time.time())


def as_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
