"""NeMo-Aligner's own rows for reward models, {"text", "label"}, read and written.

`text` is a conversation in the extra_id template, `label` nine numbers in the order of ATTRIBUTES, -100 where nothing
was rated [read: NeMo-Aligner's SteerLM preprocessing].

    ratings      one row a response, with its ratings in their slots
    comparison   two rows one after the other, response 1 and response 2: both with the preference strength in slot 0,
                 -3 to 3 and above 0 where response 2 is better, and -100 everywhere else

So slot 0, quality, is a strength where it stands alone; with any other slot the row is a rating.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from nemo_hs2pref.data.fields import given, is_number, text
from nemo_hs2pref.data.formats.pairs import SPLIT_OF_FILE
from nemo_hs2pref.data.groups import Dropped, Found, Kept, Split
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.reading.rows import Line, Reading
from nemo_hs2pref.data.reading.sources import Release, Table
from nemo_hs2pref.data.records import ATTRIBUTES, IGNORED, Message, PreferencePair, RatedResponse
from nemo_hs2pref.data.templates import extra_id
from nemo_hs2pref.errors import DataError

RELEASE = Release(
    None,
    ({"rows": "rows.jsonl"}, {name: f"{name}.jsonl" for name in SPLIT_OF_FILE}),
    optional=frozenset({"validation", "test"}),
)
STRENGTHS = range(-3, 4)
Read = RatedResponse | PreferencePair | DataError


@dataclass(frozen=True)
class _Side:
    """One row of a comparison."""

    messages: tuple[Message, ...]
    strength: int  # -3..3


# Writing


def rating_row(rated: RatedResponse) -> Row:
    """The row of a rated response."""
    return _row(rated.messages, rated.attributes)


def pair_rows(pair: PreferencePair) -> tuple[Row, Row]:
    """The rows of a comparison, response 1 first; the chosen one is response 1 where its position is not known.

    The pair's ratings have no place in these rows. Raises DataError where it has no strength.
    """
    if pair.strength is None:
        raise DataError(
            f"pair {pair.id!r} has no strength, which NeMo-Aligner's rows hold in slot 0; leave aligner out"
        )
    sides = [side.messages for side in pair.conversations()]
    second_is_better = pair.chosen_position == 2
    strength = pair.strength if second_is_better else -pair.strength
    first, second = reversed(sides) if second_is_better else sides
    return _row(first, {ATTRIBUTES[0]: strength}), _row(second, {ATTRIBUTES[0]: strength})


def _row(messages: tuple[Message, ...], values: Mapping[str, float]) -> Row:
    label = [float(values.get(name, IGNORED)) for name in ATTRIBUTES]
    return {"text": extra_id.render(messages), "label": label}


# Reading


def read(tables: Mapping[str, Table], reading: Reading) -> Iterator[Found]:
    """The responses, those of one prompt together where they are neighbours, and the comparisons; ties are dropped."""
    for key, table in tables.items():
        stem = table.paths[0].name.partition(".")[0]
        lines = reading.rows(table, lambda row: row, {"text", "label"})
        for (prompt, _), neighbours in groupby(_records(lines, stem, reading), key=_prompt_and_type):
            split = SPLIT_OF_FILE.get(key) or reading.split_of(prompt)
            yield from _found(split, list(neighbours))


def _records(
    lines: Iterable[Line[Row]], stem: str, reading: Reading
) -> Iterator[tuple[str, RatedResponse | PreferencePair]]:
    """("file:line", record); what cannot be used goes to the bad rows."""
    for line, record in read_rows(lines, stem):
        if isinstance(record, DataError):
            reading.bad_rows.add(line.where, record)
        else:
            yield line.where, record


def _prompt_and_type(found: tuple[str, RatedResponse | PreferencePair]) -> tuple[tuple[Message, ...], type]:
    return found[1].conversations()[0].messages[:-1], type(found[1])


def _found(split: Split, neighbours: list[tuple[str, RatedResponse | PreferencePair]]) -> Iterator[Found]:
    rated = tuple(record for _, record in neighbours if isinstance(record, RatedResponse))
    if rated:
        yield Kept("ratings", split, rated)
    for where, record in neighbours:
        if isinstance(record, PreferencePair):
            if record.strength == 0:
                yield Dropped("pairs", split, "tie", where, record.id)
            else:
                yield Kept("pairs", split, (record,), where)


def read_rows(lines: Iterable[Line[Row]], name: str) -> Iterator[tuple[Line[Row], Read]]:
    """The records of a file of such rows, with what cannot be used in its place.

    Args:
        lines: of the file, in order. No more than one waits for its neighbour.
        name: stem of the ids: "<name>-<row number>", of a comparison the first of its two rows.

    Yields:
        (line, record or fault), in the order of the lines; a fault is the sentence alone, without file and line. Only
        rows next to each other make a comparison: one whose second row is missing, or malformed, is a fault of its
        own line. Where the strengths of two rows of one prompt differ, one fault stands for both.
    """
    waiting: tuple[Line[Row], _Side] | None = None
    for line in lines:
        read = _read(line.record, f"{name}-{line.number}")
        if waiting is not None and isinstance(read, _Side) and _belongs(*waiting, line, read):
            yield waiting[0], _pair(f"{name}-{waiting[0].number}", waiting[1], read)
            waiting = None
            continue
        if waiting is not None:
            yield waiting[0], _alone()
        waiting = (line, read) if isinstance(read, _Side) else None
        if not isinstance(read, _Side):
            yield line, read
    if waiting is not None:
        yield waiting[0], _alone()


def _belongs(first: Line[Row], one: _Side, second: Line[Row], other: _Side) -> bool:
    return second.number == first.number + 1 and one.messages[:-1] == other.messages[:-1]


def _read(row: Row, name: str) -> RatedResponse | _Side | DataError:
    """One row by itself."""
    try:
        messages = extra_id.parse_text(text(row, "text"))
        ratings, strength = label_of(row)
    except DataError as fault:
        return fault
    return RatedResponse(name, messages, ratings) if strength is None else _Side(messages, strength)


def label_of(row: Row) -> tuple[dict[str, float], int | None]:
    """The ratings in the slots that are not masked, and None; of a comparison's row no ratings, and its strength."""
    label = given(row, "label")
    if not isinstance(label, list) or len(label) != len(ATTRIBUTES) or not all(map(is_number, label)):
        raise DataError(
            f'"label" is {label!r:.60}; expected {len(ATTRIBUTES)} numbers, one for each of {", ".join(ATTRIBUTES)}'
        )
    values = {name: value for name, value in zip(ATTRIBUTES, label, strict=True) if value != IGNORED}
    if not values:
        raise DataError('"label" is -100 in all slots; expected at least one rating, or a strength in slot 0')
    if values.keys() != {ATTRIBUTES[0]}:
        return values, None
    if (strength := values[ATTRIBUTES[0]]) not in STRENGTHS:
        raise DataError(f'"label" has {strength} in slot 0 alone, which is a strength; expected a whole number -3 to 3')
    return {}, int(strength)


def _pair(name: str, first: _Side, second: _Side) -> PreferencePair | DataError:
    if first.strength != second.strength:
        return DataError(
            f"slot 0 is {first.strength}, and {second.strength} in the next row, which has the same prompt; "
            "expected the strength of the comparison in both"
        )
    position = 2 if first.strength > 0 else 1
    rejected, chosen = (first, second) if position == 2 else (second, first)
    prompt, strength = first.messages[:-1], abs(first.strength)
    responses = chosen.messages[-1].content, rejected.messages[-1].content
    return PreferencePair(name, prompt, *responses, strength, chosen_position=position)


def _alone() -> DataError:
    return DataError(
        "slot 0 stands alone, so that the row is response 1 of a comparison, but the next row is not response 2: "
        "expected the same prompt and only slot 0"
    )
