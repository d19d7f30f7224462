"""Scores of every run on the held-out pairs, in one process, as starting NeMo costs more than scoring a model."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from nemo_hs2pref.data.records import Conversation, PreferencePair
from nemo_hs2pref.evaluation.scores import read_scores, write_scores
from nemo_hs2pref.reproduce.plan import Run
from nemo_hs2pref.reproduce.runs import minutes

Scores = dict[str, float]  # id -> reward


class Scorer(Protocol):
    """runtime.scoring.Scorer, as far as it is needed."""

    def load(self, path: Path) -> None: ...

    def score(self, conversations: Sequence[Conversation]) -> list[dict[str, Any]]: ...


def nemo_scorer(checkpoint: Path) -> Scorer:
    """The real one; it cannot score before a checkpoint is loaded."""
    from nemo_hs2pref.runtime.scoring import Scorer as NemoScorer  # heavy: NeMo

    return NemoScorer(checkpoint)


def score_runs(
    runs: Sequence[Run], pairs: Sequence[PreferencePair], make_scorer: Callable[[Path], Scorer]
) -> dict[Run, Scores]:
    """Rewards of both sides of every pair by every run; what an earlier call has scored is read, not scored again.

    make_scorer: from a checkpoint, a scorer of its architecture; called once, and only where something is missing.
    """
    missing = [run for run in runs if not file_of(run).exists()]
    sides = [side for pair in pairs for side in pair.conversations()]
    scorer = make_scorer(missing[0].model) if missing else None
    started = time.monotonic()
    for number, run in enumerate(missing):
        assert scorer is not None
        rest = (time.monotonic() - started) / number * (len(missing) - number) if number else None
        told = "" if rest is None else f"   about {minutes(rest)} to go"
        print(f"\n=== scoring {number + 1} of {len(missing)}: {run}{told}", flush=True)
        scorer.load(run.model)
        write_scores(file_of(run), scorer.score(sides))
    return {run: read_scores(file_of(run)) for run in runs}


def file_of(run: Run) -> Path:
    return run.folder / "scores.jsonl"
