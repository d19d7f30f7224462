"""Doing the runs of a plan: each once, with what is done already left alone, and a forecast."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from nemo_hs2pref.checkpoint.layout import TRAINING_STATE
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.files import read_json, write_json
from nemo_hs2pref.laptop import shown
from nemo_hs2pref.reproduce.plan import EXPO, Plan, Run

DONE = "done.json"  # in the folder of a run that ended well: its command, and how long it took
Command = Callable[[Sequence[str]], None]  # runs `hs2pref WORDS...` and raises where it fails


def do_runs(plan: Plan, command: Command) -> None:
    """Train and extrapolate what is not done; a training that was killed goes on from its resume state."""
    started, runs = time.monotonic(), plan.runs
    waiting = [run for run in runs if not is_done(run, plan.words(run))]
    for number, run in enumerate(waiting):
        position = f"run {runs.index(run) + 1} of {len(runs)}: {run}"
        print(f"\n=== {position}   {forecast(started, waiting[number:], runs)}", flush=True)
        do(run, plan.words(run), command)


def do(run: Run, words: Sequence[str], command: Command) -> None:
    """One run, marked when it is done."""
    if run.row == EXPO:
        shutil.rmtree(run.folder, ignore_errors=True)  # left by a kill just before the mark
    started = time.monotonic()
    command(words)
    write_json(run.folder / DONE, {"command": list(words), "seconds": round(time.monotonic() - started, 1)})
    # Three quarters of the checkpoint, and of no use any more: 24 runs of the small model would need 16 GB.
    shutil.rmtree(run.model / TRAINING_STATE, ignore_errors=True)


def is_done(run: Run, words: Sequence[str]) -> bool:
    """Whether the run is done; ConfigError where another one is in its folder."""
    done = read_done(run)
    if done and done["command"] != list(words):
        raise ConfigError(
            f"{run.folder}: holds the run `{shown(done['command'])}`, and asked for is `{shown(words)}`; "
            "choose another --out, or remove this folder and those that start from it"
        )
    return done is not None


def read_done(run: Run) -> Mapping[str, Any] | None:
    path = run.folder / DONE
    return read_json(path, ConfigError) if path.exists() else None


def forecast(started: float, waiting: Sequence[Run], runs: Sequence[Run]) -> str:
    """`12 min so far, about 31 min to go`, without the scoring at the end."""
    rest = expected(waiting, runs)
    told = "" if rest is None else f", about {minutes(rest)} to go"
    return f"{minutes(time.monotonic() - started)} so far{told}"


def expected(waiting: Sequence[Run], runs: Sequence[Run]) -> float | None:
    """Seconds that the waiting runs will take: each as the mean of the done ones of its kind, or else of all done ones;
    None before the first is done."""
    took = [(kind(run), done["seconds"]) for run in runs if (done := read_done(run))]
    every = [seconds for _, seconds in took]
    alike = {run: [seconds for of_kind, seconds in took if of_kind == kind(run)] for run in waiting}
    return sum(fmean(seconds or every) for seconds in alike.values()) if took else None


def kind(run: Run) -> str:
    """Runs of one kind see equally many items of one sort."""
    if run.row == EXPO:
        return EXPO
    return "pairs" if run.row.endswith("_bt") else "ratings"


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
