"""Rewards of conversations, who gives them, and the file they are kept in.

scores.jsonl   {"id", "reward", "attributes"?, "standardized"?}; a pair has two rows, "<id>:chosen" and "<id>:rejected"
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from nemo_hs2pref.data.collecting import collect
from nemo_hs2pref.data.faults import RefusedRows
from nemo_hs2pref.data.fields import given, is_integer
from nemo_hs2pref.data.jsonl import Row, write_jsonl
from nemo_hs2pref.data.records import Conversation, parse_id
from nemo_hs2pref.errors import DataError

IDS_SHOWN = 3


@dataclass(frozen=True)
class Score:
    """What a model says of one conversation."""

    id: str
    reward: float
    attributes: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)  # empty: none are known
    standardized: bool = False  # each number less its own mean, by its own std: no longer on the scale of the ratings

    @property
    def is_finite(self) -> bool:
        return all(map(math.isfinite, (self.reward, *self.attributes.values())))

    def to_json(self) -> Row:
        row: Row = {"id": self.id, "reward": self.reward}
        row |= {"attributes": dict(self.attributes)} if self.attributes else {}
        return row | {"standardized": True} if self.standardized else row


class TooLong(RefusedRows):
    """Rows with more tokens than the model may take."""


class Scorer(Protocol):
    """Anything that gives rewards: a model (runtime/scoring), or a file of what a model gave."""

    def score(self, conversations: Sequence[Conversation]) -> list[Score]:
        """One score a conversation, in the order given."""
        ...


class Example(Protocol):
    """What is judged by the scores of its conversations: a pair, or a prompt with all its completions."""

    @property
    def id(self) -> str: ...

    def conversations(self) -> Sequence[Conversation]: ...


@dataclass(frozen=True)
class ScoresFile:
    """The scores in a scores.jsonl, which must be those of the conversations asked for and no others."""

    path: str | Path

    def score(self, conversations: Sequence[Conversation]) -> list[Score]:
        """DataError with counts and first ids: scores of another file or another run join in part only."""
        scores, expected = read_scores(self.path), [conversation.id for conversation in conversations]
        where = f"{self.path}: scores do not fit the {len(expected)} conversations"
        _refuse_unfit(where, expected, [(score.id, score.is_finite) for score in scores])
        by_id = {score.id: score for score in scores}
        return [by_id[identifier] for identifier in expected]


def are_standardized(scores: Sequence[Score]) -> bool:
    """DataError where some are and others are not, which no comparison could stand."""
    num_standardized = sum(score.standardized for score in scores)
    if 0 < num_standardized < len(scores):
        raise DataError(f"{num_standardized} of {len(scores)} scores are standardized; score all rows in one way")
    return num_standardized > 0


def rewards(scores: Iterable[Score]) -> dict[str, float]:
    """Id -> reward."""
    return {score.id: score.reward for score in scores}


def read_scores(path: str | Path) -> list[Score]:
    """All scores of a file; DataError names every line that is none. A number may be NaN here, and an id come twice:
    ScoresFile and require_scores report all of them together."""
    return collect(path, _parse_score)


def write_scores(path: str | Path, scores: Sequence[Score]) -> None:
    """Write scores; DataError where one is not finite (JSON has no NaN), and then the file stays as it was."""
    problem = _problem("not finite", (score.id for score in scores if not score.is_finite))
    if problem:
        raise DataError(f"{path}: {problem} of {len(scores)} scores; the model's weights or the precision are broken")
    write_jsonl(path, (score.to_json() for score in scores))


def require_scores(examples: Sequence[Example], rewards: Mapping[str, float]) -> None:
    """Every conversation of every example needs one finite reward, and no reward may be left over.

    Raises DataError with the counts and the first ids.
    """
    expected = [conversation.id for example in examples for conversation in example.conversations()]
    found = [(identifier, math.isfinite(reward)) for identifier, reward in rewards.items()]
    _refuse_unfit(f"scores do not fit the {len(examples)} examples", expected, found)


def _refuse_unfit(where: str, expected: Sequence[str], found: Sequence[tuple[str, bool]]) -> None:
    """`found`: id, and whether its numbers are finite."""
    counts, wanted = Counter(identifier for identifier, _ in found), set(expected)
    problems = [
        _problem("missing", wanted - counts.keys()),
        _problem("left over", counts.keys() - wanted),
        _problem("more than once", (identifier for identifier, count in counts.items() if count > 1)),
        _problem("not finite", (identifier for identifier, is_finite in found if not is_finite)),
    ]
    if any(problems):
        raise DataError(f"{where}: {'; '.join(filter(None, problems))}; score exactly these rows again")


def _problem(kind: str, ids: Iterable[str]) -> str:
    found = sorted(ids)
    return f"{len(found)} {kind} ({first_ids(found)})" if found else ""


def first_ids(ids: Sequence[str]) -> str:
    """As many of them as a message shows."""
    return ", ".join(ids[:IDS_SHOWN]) + (", ..." if len(ids) > IDS_SHOWN else "")


def _parse_score(row: Row) -> Score:
    attributes = row.get("attributes") or {}
    if not isinstance(attributes, dict):
        raise DataError(f'"attributes" is {attributes!r:.40}; expected an object such as {{"helpfulness": 3}}')
    standardized = row.get("standardized", False)
    if not isinstance(standardized, bool):
        raise DataError(f'"standardized" is {standardized!r:.40}; expected true or false')
    numbers = {name: _number(attributes, name) for name in attributes}
    return Score(parse_id(row), _number(row, "reward"), numbers, standardized)


def _number(row: Row, key: str) -> float:
    """Any number that Python's JSON reads, NaN and infinities too."""
    value = given(row, key)
    if not isinstance(value, float) and not is_integer(value):
        raise DataError(f'"{key}" is {value!r:.40}; expected a number')
    try:
        return float(value)
    except OverflowError:
        raise DataError(f'"{key}" is an integer beyond every float; expected a number of at most 308 digits') from None
