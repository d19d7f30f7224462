"""A team's own annotations: one task a line, with what each annotator said of its two responses.

    {"id", "prompt": str or [messages], "response_1", "response_2", "split"?: "train" or "validation",
     "annotations": [{"annotator"?, "ratings_1"?: {"helpfulness": 3, ...}, "ratings_2"?: {...},
                      "preference"?: -3..3 or -100, "justification"?}, ...]}

What becomes of a task stands in data/formats/annotated_tasks.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from nemo_hs2pref.data.aggregation import UNUSABLE
from nemo_hs2pref.data.fields import given, integer, is_absent, nonempty, text, whole
from nemo_hs2pref.data.groups import Split
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.reading.split import parse_split
from nemo_hs2pref.data.records import HELPSTEER_ATTRIBUTES, PROMPT_KEYS, Message, parse_id, parse_messages
from nemo_hs2pref.errors import DataError

TASK_KEYS = frozenset({"id", "response_1", "response_2", "split", "annotations"}) | PROMPT_KEYS
PREFERENCES = (-3, -2, -1, 1, 2, 3, UNUSABLE)  # no 0: the paper's annotators have no tie, only their mean has

Ratings = Mapping[str, int]  # attribute -> 0 to 4
Columns = Mapping[str, tuple[int, ...]]  # attribute -> one rating an annotator, -100 for none
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Task:
    """Two responses to one prompt, and what N annotators said, who answered the same questions in the same order."""

    id: str
    prompt: tuple[Message, ...]  # as given: whether its turns alternate was not looked at
    responses: tuple[str, str]
    split: Split | None
    ratings: tuple[Columns, Columns] | None  # of response 1 and 2, with helpfulness; None where not asked for
    preferences: tuple[int, ...] | None  # [N] of PREFERENCES, above 0: response 2 is better; None where not asked for
    justifications: tuple[str | None, ...]  # [N]


def parse_task(row: Row) -> Task:
    """One line of the file; DataError names the key and, from 0, the annotation."""
    annotations = _annotations(row)
    ratings = _answers(annotations, _ratings, '"ratings_1" and "ratings_2"')
    preferences = _answers(annotations, _preference, '"preference"')
    justifications = _each(annotations, _justification)
    if ratings is None and preferences is None:
        raise DataError(
            'the annotations have neither "ratings_1" and "ratings_2" nor "preference"; expected one, or both'
        )
    return Task(
        id=parse_id(row),
        prompt=parse_messages(row, "prompt", last="user"),
        responses=(text(row, "response_1"), text(row, "response_2")),
        split=parse_split(row),
        ratings=None if ratings is None else _columns(ratings),
        preferences=None if preferences is None else tuple(preferences),
        justifications=tuple(justifications),
    )


def _annotations(row: Row) -> list[Row]:
    annotations = given(row, "annotations")
    if not isinstance(annotations, list) or not annotations or not all(isinstance(one, dict) for one in annotations):
        raise DataError(f'"annotations" is {annotations!r:.40}; expected a list of objects, one an annotator')
    names = [name for name in _each(annotations, _annotator) if name is not None]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f'"annotations" has two of the annotator {twice!r}; expected one of each')
    return annotations


def _each(annotations: Sequence[Row], parse: Callable[[Row], Answer]) -> list[Answer]:
    """[N] what `parse` makes of each annotation; its DataErrors get the position."""
    answers: list[Answer] = []
    for position, annotation in enumerate(annotations):
        try:
            answers.append(parse(annotation))
        except DataError as fault:
            raise DataError(f"annotations[{position}]: {fault}") from None
    return answers


def _answers(annotations: Sequence[Row], parse: Callable[[Row], Answer | None], question: str) -> list[Answer] | None:
    """[N] answers to a question; None where no annotator has one, DataError where only some have."""
    answers = _each(annotations, parse)
    present = [answer for answer in answers if answer is not None]
    if present and len(present) < len(answers):
        raise DataError(
            f"annotations[{answers.index(None)}] has no {question}, which others of the task have; "
            "expected the same questions answered in all"
        )
    return present or None


def _ratings(annotation: Row) -> tuple[Ratings, Ratings] | None:
    rated = [key for key in ("ratings_1", "ratings_2") if annotation.get(key) is not None]
    if all(is_absent(annotation[key]) for key in rated):
        return None
    if len(rated) == 1:
        raise DataError(f'"{rated[0]}" stands alone; give "ratings_1" and "ratings_2", or neither')
    return (_ratings_of(annotation, rated[0]), _ratings_of(annotation, rated[1])) if rated else None


def _ratings_of(annotation: Row, key: str) -> Ratings:
    ratings = annotation[key]
    if not isinstance(ratings, dict):
        raise DataError(f'"{key}" is {ratings!r:.40}; expected an object such as {{"helpfulness": 3}}')
    for name in ratings.keys() - set(HELPSTEER_ATTRIBUTES):
        raise DataError(f'"{key}" has the unknown name {name!r}; the names are {", ".join(HELPSTEER_ATTRIBUTES)}')
    try:
        return {name: integer(ratings, name, 0, 4) for name in ratings if ratings[name] is not None}
    except DataError as fault:
        raise DataError(f'"{key}": {fault}') from None


def _preference(annotation: Row) -> int | None:
    if annotation.get("preference") is None:
        return None
    found = annotation["preference"]
    value = whole(found)
    if value not in PREFERENCES:
        raise DataError(
            f'"preference" is {found!r:.40}; expected -3, -2, -1, 1, 2 or 3 (a single annotator has no tie), '
            f"or {UNUSABLE} where neither response is valid"
        )
    return value


def _justification(annotation: Row) -> str | None:
    """The text without the space around it; None where there is none."""
    return None if annotation.get("justification") is None else text(annotation, "justification").strip() or None


def _annotator(annotation: Row) -> str | None:
    return None if annotation.get("annotator") is None else nonempty(annotation, "annotator")


def _columns(annotations: Sequence[tuple[Ratings, Ratings]]) -> tuple[Columns, Columns]:
    """Helpfulness, by which agreement is measured, and the attributes that any annotator of the task rated."""
    rated = {"helpfulness"}.union(*(ratings for both in annotations for ratings in both))
    names = [name for name in HELPSTEER_ATTRIBUTES if name in rated]

    def columns(side: int) -> Columns:
        return {name: tuple(both[side].get(name, UNUSABLE) for both in annotations) for name in names}

    return columns(0), columns(1)
