"""A run's resume state without its tensors: which run it is of, and what to do where it is damaged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemo_hs2pref.checkpoint.file_list import FILE_LIST, Files, read_file_list
from nemo_hs2pref.checkpoint.layout import LAST, MANIFEST
from nemo_hs2pref.decode import from_file
from nemo_hs2pref.errors import CheckpointError, HS2PrefError


@dataclass(frozen=True)
class SavedRun:
    """Of a resume state's manifest."""

    step: int
    run: Mapping[str, Any]  # the resolved configuration
    read: Mapping[str, str]  # file of rows, as the configuration names it -> SHA-256


def read_saved_run(state: Path) -> SavedRun:
    """Raises CheckpointError with the way on."""
    try:
        return from_file(SavedRun, state / MANIFEST, CheckpointError)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; {way_on(state)}") from None


def listed_files(state: Path) -> Files:
    """What the state's files were when it was saved; raises CheckpointError with the way on."""
    try:
        files = read_file_list(state)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; {way_on(state)}") from None
    if files is None:
        raise CheckpointError(
            f"{state / FILE_LIST}: not found, nothing tells whether the rest is whole; {way_on(state)}"
        )
    return files


def refuse_damaged(state: Path, problems: Sequence[str]) -> None:
    """problems: a sentence each, the file first; raises CheckpointError for the first of them."""
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CheckpointError(f"{state}/{problems[0]}{more}; {way_on(state)}")


def way_on(state: Path) -> str:
    """What else there is to go on from, where the resume state is damaged: whole by the size of all files."""
    before = state.with_name(f"{LAST}.old")
    if state != before and (step := step_if_whole(before)) is not None:
        return f"move {state} away and start again: the run goes on from {before}, after step {step}"
    kept = [(step, path) for path in state.parent.glob("step_*") if (step := step_if_whole(path)) is not None]
    if kept:
        step, path = max(kept)
        return (
            "put a copy of it there, or start another run from the weights of step "
            f"{step}: pretrained_checkpoint.restore_from_path={path}"
        )
    return "put a copy of it there, or start the run anew: exp_manager.resume_if_exists=false; there is no earlier one"


def step_if_whole(checkpoint: Path) -> int | None:
    try:
        files, saved = read_file_list(checkpoint), from_file(SavedRun, checkpoint / MANIFEST)
        sizes = {name: (checkpoint / name).stat().st_size for name in files or ()}
    except (OSError, HS2PrefError):
        return None
    return saved.step if files and all(sizes[name] == of["bytes"] for name, of in files.items()) else None
