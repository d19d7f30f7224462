"""What `hs2pref evaluate` can measure: rows to score, and what their scores say."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nemo_hs2pref.data.collecting import Account
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.records import Conversation, PreferencePair, read_pairs
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.preferences import PreferenceReport, decided, evaluate_pairs
from nemo_hs2pref.evaluation.rewardbench import (
    RewardBenchReport,
    evaluate_rewardbench,
    load_rewardbench,
    require_subsets,
)
from nemo_hs2pref.evaluation.rewardbench2 import (
    Item,
    RewardBench2Report,
    evaluate_rewardbench2,
    load_rewardbench2,
    scored_pair,
)
from nemo_hs2pref.evaluation.scores import Example, Score, are_standardized, rewards
from nemo_hs2pref.files import sha256


class Report(Protocol):
    """What scores say of a model, for programs and for people."""

    def to_json(self) -> dict[str, Any]: ...

    def table(self) -> str: ...


class Task(Protocol):
    """One benchmark on one file.

    `source` is {"name", "sha256", "rows", "ignored_keys"?} of the file; `report` takes the scores of all conversations
    of `examples`; `scored_pairs` gives {pair, "chosen_reward", "rejected_reward"} in the order of the file.
    """

    @property
    def benchmark(self) -> str: ...
    @property
    def source(self) -> Mapping[str, Any]: ...
    @property
    def examples(self) -> Sequence[Example]: ...

    def report(self, scores: Sequence[Score]) -> Report: ...

    def scored_pairs(self, scores: Sequence[Score]) -> Iterator[Row]: ...


@dataclass(frozen=True)
class PairsTask:
    """What the tasks of pairs have in common. Made before hours of scoring, so it refuses what comes to nothing."""

    source: Mapping[str, Any]
    examples: Sequence[PreferencePair]

    def __post_init__(self) -> None:
        if not self.examples:
            raise DataError(f"{self.source['name']}: has no rows; expected at least one pair")

    def scored_pairs(self, scores: Sequence[Score]) -> Iterator[Row]:
        return with_rewards(self.examples, rewards(scores))


@dataclass(frozen=True)
class PreferencesTask(PairsTask):
    """Accuracy and more on a pairs file."""

    benchmark: str = "preferences"

    def __post_init__(self) -> None:
        super().__post_init__()
        decided(self.examples)

    def report(self, scores: Sequence[Score]) -> PreferenceReport:
        rated = [] if are_standardized(scores) else scores  # ratings are not standardized
        attributes = {score.id: score.attributes for score in rated if score.attributes}
        return evaluate_pairs(self.examples, rewards(scores), attributes)


@dataclass(frozen=True)
class RewardBenchTask(PairsTask):
    """RewardBench's sections, and its prior sets where the pairs have them."""

    benchmark: str = "rewardbench"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_subsets(self.examples)

    def report(self, scores: Sequence[Score]) -> RewardBenchReport:
        return evaluate_rewardbench(self.examples, rewards(scores))


@dataclass(frozen=True)
class RewardBench2Task:
    """RewardBench 2's domains."""

    source: Mapping[str, Any]
    examples: Sequence[Item]
    benchmark: str = "rewardbench2"

    def report(self, scores: Sequence[Score]) -> RewardBench2Report:
        return evaluate_rewardbench2(self.examples, rewards(scores))

    def scored_pairs(self, scores: Sequence[Score]) -> Iterator[Row]:
        by_id = rewards(scores)
        return (scored_pair(item, by_id).to_json() for item in self.examples)


def preferences(path: str) -> PreferencesTask:
    account = Account()
    pairs = read_pairs(path, require_strength=False, account=account)
    source = {"name": path, "sha256": sha256(Path(path)), "rows": len(pairs)}
    return PreferencesTask(source | ({"ignored_keys": dict(account.ignored)} if account.ignored else {}), pairs)


def rewardbench(source: str, revision: str | None, prior_sets: bool) -> RewardBenchTask:
    """source: a hub id, a folder with its files, or a file."""
    found = load_rewardbench(source, revision=revision, prior_sets=prior_sets)
    return RewardBenchTask(found.describe(), found.records)


def rewardbench2(source: str, revision: str | None) -> RewardBench2Task:
    found = load_rewardbench2(source, revision=revision)
    return RewardBench2Task(found.describe(), found.records)


def conversations_of(examples: Sequence[Example]) -> list[Conversation]:
    """All that has to be scored."""
    return [conversation for example in examples for conversation in example.conversations()]


def with_rewards(pairs: Sequence[PreferencePair], rewards: Mapping[str, float]) -> Iterator[Row]:
    for pair in pairs:
        chosen, rejected = (rewards[side.id] for side in pair.conversations())
        yield {**pair.to_json(), "chosen_reward": chosen, "rejected_reward": rejected}
