"""Which kind of file it is, by the keys of its first rows, and a row of any kind as one `Example`."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from nemo_hs2pref.data.aggregation import UNUSABLE
from nemo_hs2pref.data.fields import given, integer, is_integer, text
from nemo_hs2pref.data.formats.aligner import label_of
from nemo_hs2pref.data.formats.annotations import TASK_KEYS, Columns, parse_task
from nemo_hs2pref.data.formats.helpsteer2 import PREFERENCE_KEYS
from nemo_hs2pref.data.formats.helpsteer2 import RATING_KEYS as RELEASED_RATING_KEYS
from nemo_hs2pref.data.formats.usable import fault_of_texts, fault_of_turns
from nemo_hs2pref.data.forms.helpsteer3 import OVERALL
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.records import (
    HELPSTEER_ATTRIBUTES,
    PAIR_KEYS,
    PROMPT_KEYS,
    RATING_KEYS,
    Message,
    check_turns,
    parse_conversation,
    parse_id,
    parse_messages,
    parse_pair,
    parse_rating,
)
from nemo_hs2pref.data.templates.extra_id import parse_text, split_prompt
from nemo_hs2pref.errors import DataError

ANSWER = re.compile("response|completion|answer|output|chosen|rejected")  # keys of a row that is more than a prompt


class Unusable(Exception):
    """A row of the right form that nothing can be trained on; the message is the word of `data prepare` for it."""


@dataclass(frozen=True)
class Side:
    """One of the responses that a row rates or compares."""

    label: str  # chosen, rejected, response, ...
    text: str
    ratings: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class Example:
    """A row, whichever its kind."""

    id: str  # empty where the kind or the file has none
    prompt: tuple[Message, ...]  # empty where the side is a whole text, in which the turns are not known
    sides: tuple[Side, ...] = ()  # none of a prompt alone
    strength: int | None = None
    better: int | None = None  # which of the sides was preferred
    justification: str | None = None

    def has_several_turns(self) -> bool:
        return sum(message.role == "user" for message in self.prompt) > 1


@dataclass(frozen=True)
class Kind:
    """A kind of file: the keys that tell it from others, and its row as an Example."""

    name: str
    keys: tuple[str, ...]
    parse: Callable[[Row], Example]  # raises DataError with the fault alone, or Unusable
    read: Collection[str]  # the keys that `parse` reads
    has_ids: bool = False  # ours has; where a file has none at all, it is another program's
    without: re.Pattern[str] | None = None  # keys that another kind would have

    def fits(self, row: Row) -> bool:
        return row.keys() >= set(self.keys) and not (self.without and any(map(self.without.match, row)))


def recognise(rows: Sequence[Row]) -> Kind | None:
    """The kind of the first of these rows that has all keys of one."""
    return next((kind for row in rows for kind in KINDS if kind.fits(row)), None)


def known_kinds() -> str:
    """What could be recognised, for messages."""
    return "; ".join(f"{kind.name} ({', '.join(kind.keys)})" for kind in KINDS)


def _rating(row: Row) -> Example:
    rated = parse_rating(row)
    return Example(rated.id, rated.messages[:-1], (Side("response", rated.messages[-1].content, rated.attributes),))


def _conversation(row: Row) -> Example:
    conversation = parse_conversation(row)
    return Example(conversation.id, conversation.messages[:-1], (Side("response", conversation.messages[-1].content),))


def _pair(row: Row) -> Example:
    pair = parse_pair(row)
    chosen = Side("chosen", pair.chosen, pair.chosen_attributes)
    rejected = Side("rejected", pair.rejected, pair.rejected_attributes)
    better = None if pair.strength == 0 else 0
    _refuse("equal_responses" if better == 0 and pair.has_equal_responses else None)
    return Example(pair.id, pair.prompt, (chosen, rejected), pair.strength, better, pair.justification)


def _prompt(row: Row) -> Example:
    prompt = parse_messages(row, "prompt", last="user")
    check_turns(prompt, last="user")
    return Example(parse_id(row), prompt)


def _released_preference(row: Row) -> Example:
    strength = integer(row, "preference_strength", -3, 3)
    sides = (Side("response 1", text(row, "response_1")), Side("response 2", text(row, "response_2")))
    statement = None if row.get("preference_statement") is None else text(row, "preference_statement")
    better = None if strength == 0 else int(strength > 0)
    _refuse("equal_responses" if strength and sides[0].text.strip() == sides[1].text.strip() else None)
    return Example("", _released_prompt(row, *sides), sides, strength, better, statement)


def _released_rating(row: Row) -> Example:
    side = Side("response", text(row, "response"), {name: _mean(row, name) for name in HELPSTEER_ATTRIBUTES})
    return Example("", _released_prompt(row, side), (side,))


def _mean(row: Row, name: str) -> float:
    """The rating, or the mean of all annotators' where the release has a list of them, in its `disagreements`."""
    value = given(row, name)
    values: list[Any] = value if isinstance(value, list) else [value]
    if not values or not all(is_integer(value) and 0 <= value <= 4 for value in values):
        raise DataError(f'"{name}" is {value!r:.40}; expected an integer 0 to 4, or a list of them')
    return fmean(values)


def _released_prompt(row: Row, *sides: Side) -> tuple[Message, ...]:
    prompt = text(row, "prompt")
    _refuse(fault_of_texts(prompt, *(side.text for side in sides)))
    return split_prompt(prompt)


def _task(row: Row) -> Example:
    """A team's own annotations, not aggregated: mean ratings, and what each annotator preferred and why."""
    task = parse_task(row)
    _refuse(fault_of_turns(task.prompt, *task.responses))
    ratings = [_means(columns) for columns in task.ratings or ({}, {})]
    sides = tuple(Side(f"response {n}", *side) for n, side in enumerate(zip(task.responses, ratings, strict=True), 1))
    preferences = task.preferences or ("no preference",) * len(task.justifications)
    answers = zip(preferences, task.justifications, strict=True)
    said = "\n".join(f"{preference}: {reason or '-'}" for preference, reason in answers)
    return Example(task.id, task.prompt, sides, justification=said)


def _means(columns: Columns) -> dict[str, float]:
    rated = {name: [value for value in values if value != UNUSABLE] for name, values in columns.items()}
    return {name: fmean(values) for name, values in rated.items() if values}


def _refuse(reason: str | None) -> None:
    if reason is not None:
        raise Unusable(reason)


def _aligner(row: Row) -> Example:
    """A rendered text and nine numbers; of a comparison only the first is set, its strength."""
    ratings, strength = label_of(row)
    try:
        *prompt, response = parse_text(text(row, "text"))
    except DataError:  # rendered by another template
        return Example("", (), (Side("text", text(row, "text"), ratings),), strength)
    return Example("", tuple(prompt), (Side("response", response.content, ratings),), strength)


# In the order in which they are tried: a kind comes before those whose keys it has as well.
KINDS = (
    Kind("rated responses", ("messages", "attributes"), _rating, RATING_KEYS, has_ids=True),
    Kind("preference pairs", ("chosen", "rejected"), _pair, PAIR_KEYS, has_ids=True),
    Kind("NeMo-RL preferences", ("context", "completions"), _pair, PAIR_KEYS, has_ids=True),
    Kind("HelpSteer3 preferences", ("context", "response1", "response2", OVERALL), _pair, PAIR_KEYS, has_ids=True),
    Kind("conversations", ("messages",), _conversation, RATING_KEYS, has_ids=True),
    Kind("ShareGPT conversations", ("conversations",), _conversation, RATING_KEYS, has_ids=True),
    Kind(
        "HelpSteer2 preferences as released",
        ("prompt", "response_1", "response_2", "preference_strength"),
        _released_preference,
        PREFERENCE_KEYS,
    ),
    Kind("annotations", ("prompt", "response_1", "response_2", "annotations"), _task, TASK_KEYS, has_ids=True),
    Kind(
        "HelpSteer2 ratings as released",
        ("prompt", "response", *HELPSTEER_ATTRIBUTES),
        _released_rating,
        RELEASED_RATING_KEYS,
    ),
    Kind("NeMo-Aligner rows", ("text", "label"), _aligner, ("text", "label")),
    Kind("prompts", ("prompt",), _prompt, PROMPT_KEYS | {"id"}, has_ids=True, without=ANSWER),
)
