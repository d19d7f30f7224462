"""Scores of every run on the held-out pairs, in one process, as starting NeMo costs more than scoring a model."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nemo_hs2pref.data.records import PreferencePair
from nemo_hs2pref.evaluation.scores import Scorer, ScoresFile, rewards, write_scores
from nemo_hs2pref.reproduce.plan import Run
from nemo_hs2pref.reproduce.runs import minutes

Rewards = dict[str, float]  # by id


def score_runs(
    runs: Sequence[Run], pairs: Sequence[PreferencePair], make_scorer: Callable[[Path], Scorer]
) -> dict[Run, Rewards]:
    """Rewards of both sides of every pair by every run; what an earlier call has scored is read, not scored again.

    make_scorer: from a checkpoint; called only where something is missing.
    """
    missing = [run for run in runs if not file_of(run).exists()]
    sides = [side for pair in pairs for side in pair.conversations()]
    started = time.monotonic()
    for number, run in enumerate(missing):
        rest = (time.monotonic() - started) / number * (len(missing) - number) if number else None
        told = "" if rest is None else f"   about {minutes(rest)} to go"
        print(f"\n=== scoring {number + 1} of {len(missing)}: {run}{told}", flush=True)
        write_scores(file_of(run), make_scorer(run.model).score(sides))
    return {run: rewards(ScoresFile(file_of(run)).score(sides)) for run in runs}


def file_of(run: Run) -> Path:
    return run.folder / "scores.jsonl"
