"""The folder that an evaluation leaves: summary.json, scores.jsonl and scored_pairs.jsonl."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nemo_hs2pref.data.jsonl import write_jsonl
from nemo_hs2pref.data.records import PreferencePair
from nemo_hs2pref.errors import ConfigError, DataError
from nemo_hs2pref.evaluation.comparison import Comparison, compare
from nemo_hs2pref.evaluation.goodness import GOODNESS, goodness
from nemo_hs2pref.evaluation.scores import Score, Scorer, ScoresFile, TooLong, rewards, write_scores
from nemo_hs2pref.evaluation.tasks import Report, Task, conversations_of
from nemo_hs2pref.files import write_json

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
        summary = {"benchmark": self.task.benchmark, "input": dict(self.task.source), **self.origin}
        summary |= self.report.to_json()
        return summary if self.comparison is None else summary | {"comparison": self.comparison.to_json()}

    def table(self) -> str:
        return self.report.table() + ("" if self.comparison is None else f"\n\n{self.comparison.table()}")

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
        long = set(fault.ids)
    kept = [example for example in task.examples if not long & {side.id for side in example.conversations()}]
    if not kept:
        raise DataError(f"{task.source['name']}: every row has a response that is too long for the model")
    task = replace(task, examples=kept)  # pyright: ignore[reportArgumentType] all tasks are dataclasses
    return task, scorer.score(conversations_of(kept))


def by_goodness(scores: Sequence[Score], name: str | None) -> Sequence[Score]:
    """The scores with the reward that named weights make of their attributes; without a name as they are."""
    if name is None:
        return scores
    return [replace(score, reward=goodness(score.attributes, GOODNESS[name])) for score in scores]


def against(task: Task, scores: Sequence[Score], baseline: Path) -> Comparison:
    """The paired test against an earlier evaluation's scores; `baseline` is its folder, or a scores.jsonl."""
    pairs, file = pairs_of(task), baseline_scores(task, baseline)
    return compare(pairs, rewards(scores), rewards(ScoresFile(file).score(conversations_of(pairs))))


def baseline_scores(task: Task, baseline: Path) -> Path:
    """The scores.jsonl of a baseline, for which no row is read: call it before hours of scoring.

    Raises ConfigError where the task is not of pairs, DataError where the baseline is not there, or is the evaluation
    of another file, whose ids may be the same. A scores.jsonl does not say what it is of.
    """
    pairs_of(task)
    if not baseline.is_dir():
        if not baseline.is_file():
            raise DataError(f"--baseline {baseline}: not found; expected the folder of an evaluation, or a {SCORES}")
        return baseline
    if not all((baseline / name).is_file() for name in (SUMMARY, SCORES)):
        raise DataError(f"--baseline {baseline}: no whole evaluation; expected {SUMMARY} and {SCORES} in it")
    evaluated = input_of(baseline / SUMMARY)
    if evaluated.get("sha256") != task.source["sha256"]:
        raise DataError(
            f"--baseline {baseline}: scores of another file, {evaluated.get('name')}, or of an older one of that name; "
            f"evaluate the baseline on {task.source['name']} as it is"
        )
    return baseline / SCORES


def input_of(summary: Path) -> dict[str, Any]:
    """What a summary says of the file that was evaluated; DataError where it is no summary."""
    try:
        return dict(json.loads(summary.read_text(encoding="utf-8"))["input"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{summary}: no summary of an evaluation; evaluate the baseline again") from None


def pairs_of(task: Task) -> list[PreferencePair]:
    """The examples of a task of pairs; ConfigError where they are others."""
    pairs = [example for example in task.examples if isinstance(example, PreferencePair)]
    if len(pairs) < len(task.examples):
        raise ConfigError("--baseline compares on pairs, and RewardBench 2 has none; leave it out")
    return pairs
