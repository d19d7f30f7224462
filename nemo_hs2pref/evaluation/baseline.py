"""Scores that an earlier evaluation left: whether they are of the same file, and what a model gains on them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nemo_hs2pref.data.records import PreferencePair
from nemo_hs2pref.errors import ConfigError, DataError
from nemo_hs2pref.evaluation.comparison import Comparison, compare
from nemo_hs2pref.evaluation.outcome import SCORES, SUMMARY
from nemo_hs2pref.evaluation.scores import Score, ScoresFile, read_scores, rewards
from nemo_hs2pref.evaluation.summary import read_summary
from nemo_hs2pref.evaluation.tasks import Task, conversations_of


def refuse_other_input(option: str, scores: Path, task: Task) -> None:
    """DataError where the summary beside the scores says that they are of another file, whose ids may be the same."""
    summary = summary_beside(scores)
    if summary is not None and summary["input"].get("sha256") != task.source["sha256"]:
        raise DataError(
            f"{option} {scores}: scores of another file, {summary['input'].get('name')}, or of an older one of that "
            f"name; score {task.source['name']} as it is"
        )


def summary_beside(scores: Path) -> dict[str, Any] | None:
    """What the evaluation that wrote the scores says of itself; None where no evaluation did, and nobody knows."""
    path = scores.with_name(SUMMARY)
    if scores.name != SCORES or not path.is_file():
        return None
    summary = read_summary(path)
    return summary if summary is not None and summary.get("input") else None


def against(task: Task, scores: Sequence[Score], baseline: Mapping[str, float]) -> Comparison:
    """The paired test against a baseline's rewards, on the pairs that both have scored."""
    pairs = [pair for pair in pairs_of(task) if all(side.id in baseline for side in pair.conversations())]
    sides, ours = conversations_of(pairs), rewards(scores)
    return compare(pairs, {side.id: ours[side.id] for side in sides}, {side.id: baseline[side.id] for side in sides})


def baseline_rewards(task: Task, baseline: Path) -> dict[str, float]:
    """Id -> reward of an earlier evaluation on the task's file: its folder, or a scores.jsonl.

    To be called before hours of scoring: raises ConfigError where the task is not of pairs, DataError where the
    baseline is not there, is of another file, or does not fit the task but for the rows that it left out as too long.
    """
    pairs, file = pairs_of(task), scores_of(baseline)
    refuse_other_input("--baseline", file, task)
    found = {score.id for score in read_scores(file)}
    scored = [pair for pair in pairs if any(side.id in found for side in pair.conversations())]
    left_out = (summary_beside(file) or {}).get("left_out_long", 0)
    expected = scored if len(pairs) - len(scored) == left_out else pairs
    return rewards(ScoresFile(file).score(conversations_of(expected)))


def scores_of(baseline: Path) -> Path:
    """Its scores.jsonl; DataError where there is none, or a folder is no whole evaluation."""
    if not baseline.exists():
        raise DataError(f"--baseline {baseline}: not found; expected the folder of an evaluation, or a {SCORES}")
    if not baseline.is_dir():
        return baseline
    file = baseline / SCORES
    if not (file.is_file() and summary_beside(file)):
        raise DataError(f"--baseline {baseline}: no whole evaluation; expected {SUMMARY} and {SCORES} in it")
    return file


def pairs_of(task: Task) -> list[PreferencePair]:
    """The examples of a task of pairs; ConfigError where they are others."""
    pairs = [example for example in task.examples if isinstance(example, PreferencePair)]
    if len(pairs) < len(task.examples):
        raise ConfigError("--baseline compares on pairs, and RewardBench 2 has none; leave it out")
    return pairs
