"""HelpSteer2's single annotations, disagreements.jsonl: all tasks, also those that the paper drops.

A row is one of train.jsonl or validation.jsonl in which every attribute is a list, one rating an annotator; two
consecutive rows with one prompt are a task. Beside the released ratings they show what the papers' rule makes of them.
On their own they are ratings to train on, dropped for the reasons of data/formats/annotated_tasks.py; nothing in them
says which were held out.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from nemo_hs2pref.data.aggregation import agreeing_annotators, panel_of
from nemo_hs2pref.data.fields import given, is_integer, text
from nemo_hs2pref.data.formats.usable import RESPONSES_PER_PROMPT, fault_of_texts
from nemo_hs2pref.data.groups import SPLITS, Dropped, Found, Kept, Panel, Split
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.reading.rows import Line, Reading, by_prompt
from nemo_hs2pref.data.reading.sources import Table
from nemo_hs2pref.data.records import HELPSTEER_ATTRIBUTES, Message, RatedResponse
from nemo_hs2pref.data.templates.extra_id import split_prompt
from nemo_hs2pref.errors import DataError

KEYS = frozenset({"prompt", "response", *HELPSTEER_ATTRIBUTES})


@dataclass(frozen=True)
class _Row:
    prompt: str
    response: str
    ratings: dict[str, tuple[int, ...]]  # attribute -> one an annotator

    def messages(self) -> tuple[Message, ...]:
        return (*split_prompt(self.prompt), Message("assistant", self.response))

    def split(self, reading: Reading) -> Split:
        """The one of its prompt's turns, kept or not; of a prompt that has none, of its text."""
        try:
            return reading.split_of(split_prompt(self.prompt))
        except DataError:
            return reading.split_of((Message("user", self.prompt),))


def read(table: Table, reading: Reading, *, is_released: bool) -> Iterator[Found]:
    """What the papers' rule makes of the ratings.

    Args:
        table: disagreements.jsonl.
        reading: has the released ratings, where they were read before.
        is_released: compare with these, instead of keeping what the rule makes.
    """
    tasks = by_prompt(
        reading.rows(table, _parse, KEYS),
        lambda row: row.prompt,
        RESPONSES_PER_PROMPT,
    )
    for number, task in enumerate(tasks, start=1):
        triples, reason = agreeing_annotators([line.record.ratings for line in task])
        kept: list[RatedResponse] = []
        for side, (line, triple) in enumerate(zip(task, triples, strict=True), start=1):
            released = _released(line.record, reading) if is_released else {}
            panels = [
                panel_of(name, ratings, triple, released.get(name)) for name, ratings in line.record.ratings.items()
            ]
            yield from panels
            if not is_released:
                response = _response(f"task-{number}:{side}", line, reason, panels, reading)
                if isinstance(response, Dropped):
                    yield response
                else:
                    kept.append(response)
        if kept:
            yield Kept("ratings", task[0].record.split(reading), tuple(kept))


def _response(
    name: str, line: Line[_Row], reason: str | None, panels: list[Panel], reading: Reading
) -> RatedResponse | Dropped:
    row = line.record
    reason = reason or fault_of_texts(row.prompt, row.response)
    if reason:
        return Dropped("ratings", row.split(reading), reason, line.where, name)
    results = {panel.question: panel.result for panel in panels if panel.result is not None}
    return RatedResponse(name, row.messages(), results)


def _released(row: _Row, reading: Reading) -> dict[str, int]:
    """The ratings that were released of a text; none where there are none, or two that differ."""
    if fault_of_texts(row.prompt, row.response):
        return {}
    ratings = (reading.scratch.ratings(split, row.messages()) for split in SPLITS)
    return next(({name: int(value) for name, value in found.items()} for found in ratings if found), {})


def _parse(row: Row) -> _Row:
    ratings = {name: _ratings(row, name) for name in HELPSTEER_ATTRIBUTES}
    numbers = {name: len(values) for name, values in ratings.items()}
    if len(set(numbers.values())) > 1:
        counts = ", ".join(f"{count} of {name}" for name, count in numbers.items())
        raise DataError(f"there are {counts}; expected one rating of each attribute from every annotator")
    return _Row(text(row, "prompt"), text(row, "response"), ratings)


def _ratings(row: Row, name: str) -> tuple[int, ...]:
    """[N] ratings of one attribute."""
    values = given(row, name)
    if not isinstance(values, list) or not values or not all(is_integer(value) and 0 <= value <= 4 for value in values):
        raise DataError(f'"{name}" is {values!r:.40}; expected a list of integers 0 to 4, one an annotator')
    return tuple(values)
