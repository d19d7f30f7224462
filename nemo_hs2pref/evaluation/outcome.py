"""The folder that an evaluation leaves: summary.json, scores.jsonl and scored_pairs.jsonl."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nemo_hs2pref import __version__
from nemo_hs2pref.data.jsonl import write_jsonl
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.comparison import Comparison
from nemo_hs2pref.evaluation.goodness import GOODNESS, goodness
from nemo_hs2pref.evaluation.scores import Score, Scorer, TooLong, are_standardized, write_scores
from nemo_hs2pref.evaluation.tasks import Report, Task, conversations_of
from nemo_hs2pref.files import write_json

STANDARDIZED = (
    "The scores are standardized: margins and calibration are in units of the reward's standard deviation, and "
    "attributes are not compared with ratings."
)
SUMMARY, SCORES, SCORED_PAIRS = "summary.json", "scores.jsonl", "scored_pairs.jsonl"


@dataclass(frozen=True)
class Outcome:
    """A task, those of its examples that were scored, and what came of it."""

    task: Task
    scores: Sequence[Score]
    report: Report
    origin: Mapping[str, Any]  # what a summary says of the scores: {"model"} or {"scores"}, and so on
    comparison: Comparison | None = None

    def summary(self) -> dict[str, Any]:
        """See docs/evaluation.md."""
        head = {"benchmark": self.task.benchmark, "tool_version": __version__}
        summary = {**head, "input": dict(self.task.source), **self.origin}
        summary |= {"standardized": are_standardized(self.scores)}
        summary |= self.report.to_json()
        return summary if self.comparison is None else summary | {"comparison": self.comparison.to_json()}

    def table(self) -> str:
        parts = [self.report.table(), STANDARDIZED if are_standardized(self.scores) else ""]
        parts += [] if self.comparison is None else [self.comparison.table()]
        return "\n\n".join(filter(None, parts))

    def write(self, out: Path) -> None:
        """The summary last: a folder that has one is whole."""
        (out / SUMMARY).unlink(missing_ok=True)
        write_scores(out / SCORES, self.scores)
        write_jsonl(out / SCORED_PAIRS, self.task.scored_pairs(self.scores))
        write_json(out / SUMMARY, self.summary())


def score(task: Task, scorer: Scorer, leave_out_long: bool = False) -> tuple[Task, list[Score]]:
    """The scores of all conversations of the task, and the task without examples that are too long for the model.

    leave_out_long: else the first of them is an error.
    """
    try:
        return task, scorer.score(conversations_of(task.examples))
    except TooLong as fault:
        if not leave_out_long:
            raise
        long = set(fault.reasons)
    kept = [example for example in task.examples if not long & {side.id for side in example.conversations()}]
    if not kept:
        raise DataError(f"{task.source['name']}: every row has a response that is too long for the model")
    task = replace(task, examples=kept)  # pyright: ignore[reportArgumentType] all tasks are dataclasses
    return task, scorer.score(conversations_of(kept))


def by_goodness(scores: Sequence[Score], name: str | None) -> Sequence[Score]:
    """The scores with the reward that named weights make of their attributes; without a name as they are.

    Raises DataError for standardized scores, whose attributes are not on one scale.
    """
    if name is None:
        return scores
    if are_standardized(scores):
        raise DataError(f"--goodness {name}: the scores are standardized; score the rows without --standardize")
    return [replace(score, reward=goodness(score.attributes, GOODNESS[name])) for score in scores]
