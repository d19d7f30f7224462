"""The official rows of HelpSteer2 and HelpSteer2-Preference as records.

A row of the wrong form (missing key, other type, number out of range) is an error, reported with all others. A row of
the right form that nothing can be trained on is dropped and counted by reason:

    tie                  the overall preference is 0; the released file has 2,007 of these, the paper leaves them out
    empty_response       a response without text
    bad_turns            the turns inside the prompt do not alternate, or one is empty

The released ratings and preferences are used as they are. Beside them stand the single annotations of which they were
made: what the papers' rules make of these is compared with what was released (`Panel`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nemo_hs2pref.data.aggregation import UNUSABLE, preference_panel
from nemo_hs2pref.data.fields import given, integer, text
from nemo_hs2pref.data.formats import disagreements
from nemo_hs2pref.data.formats.rated_pairs import remember, with_ratings
from nemo_hs2pref.data.formats.usable import RESPONSES_PER_PROMPT, fault_of_texts
from nemo_hs2pref.data.groups import SPLITS, Dropped, Found, Kept, Split
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.justifier import justification_of
from nemo_hs2pref.data.reading.rows import Reading, by_prompt
from nemo_hs2pref.data.reading.sources import Release, Table
from nemo_hs2pref.data.records import (
    HELPSTEER_ATTRIBUTES,
    Message,
    PreferencePair,
    RatedResponse,
)
from nemo_hs2pref.data.templates.extra_id import split_prompt
from nemo_hs2pref.errors import DataError

RATING_FILES = {"train": "train.jsonl", "validation": "validation.jsonl"}
DISAGREEMENTS = "disagreements"
RATING_KEYS = frozenset({"prompt", "response", *HELPSTEER_ATTRIBUTES})
PREFERENCE_KEYS = frozenset({"split", "prompt", "response_1", "response_2", "preference_strength"}) | {
    "preference_elaboration",
    "preference_statement",
    "all_preferences_unprocessed",
}
RELEASE = Release(
    "nvidia/HelpSteer2",
    (
        {
            **RATING_FILES,
            "preference": "preference/preference.jsonl",
            DISAGREEMENTS: "disagreements/disagreements.jsonl",
        },
    ),
    revision="990b2711a36180dd19d9c94b8627844866f8982a",
    optional=frozenset({DISAGREEMENTS}),
    sample=Path(__file__).parents[1] / "sample",
)


@dataclass(frozen=True)
class _RatingRow:
    prompt: str
    response: str
    ratings: dict[str, float]


@dataclass(frozen=True)
class _PreferenceRow:
    split: Split
    prompt: str
    responses: tuple[str, str]
    strength: int  # -3..3; above 0 response 2 is better
    justification: str | None
    single: tuple[int, ...]  # each annotator's strength, -100 for none; empty where the row has none


def read(tables: Mapping[str, Table], reading: Reading) -> Iterator[Found]:
    """Ratings and pairs; the pairs carry the ratings of their responses where those of the split are there."""
    for split in SPLITS:
        if split in tables:
            for found in read_rated_responses(tables[split], split, reading):
                yield remember(found, reading.scratch) if isinstance(found, Kept) else found
    if "preference" in tables:
        yield from read_preferences(tables["preference"], reading)
    if DISAGREEMENTS in tables:
        yield from disagreements.read(tables[DISAGREEMENTS], reading, is_released="train" in tables)


def read_rated_responses(
    table: Table, split: Split, reading: Reading, per_prompt: int = RESPONSES_PER_PROMPT
) -> Iterator[Found]:
    """The rated responses of train.jsonl or validation.jsonl, grouped by prompt.

    The n-th group has the id "<split>-<n>" (n from 1), its responses "<split>-<n>:1", "<split>-<n>:2" and so on, at
    most `per_prompt`. A row whose neighbours have other prompts stands alone.
    """
    neighbours = by_prompt(reading.rows(table, _parse_rating, RATING_KEYS), lambda row: row.prompt, per_prompt)
    for number, lines in enumerate(neighbours, start=1):
        group: list[RatedResponse] = []
        for side, line in enumerate(lines, start=1):
            row, name = line.record, f"{split}-{number}:{side}"
            reason = fault_of_texts(row.prompt, row.response)
            if reason is None:
                messages = (*split_prompt(row.prompt), Message("assistant", row.response))
                group.append(RatedResponse(name, messages, row.ratings))
            else:
                yield Dropped("ratings", split, reason, line.where, name)
        if group:
            yield Kept("ratings", split, tuple(group))


def read_preferences(table: Table, reading: Reading) -> Iterator[Found]:
    """The oriented pairs of preference.jsonl, both splits; row n (from 1) is "preference-<n>"."""
    for line in reading.rows(table, _parse_preference, PREFERENCE_KEYS):
        row, name = line.record, f"preference-{line.number}"
        if row.single:
            yield preference_panel(row.single, released=row.strength)
        reason = "tie" if row.strength == 0 else fault_of_texts(row.prompt, *row.responses)
        if reason is None:
            pair = with_ratings(_pair(name, row), row.split, reading.scratch)
            yield Kept("pairs", row.split, (pair,), line.where)
        else:
            yield Dropped("pairs", row.split, reason, line.where, name)


def _pair(name: str, row: _PreferenceRow) -> PreferencePair:
    better = 2 if row.strength > 0 else 1
    chosen, rejected = row.responses[better - 1], row.responses[2 - better]
    return PreferencePair(
        name,
        split_prompt(row.prompt),
        chosen,
        rejected,
        abs(row.strength),
        justification=row.justification,
        chosen_position=better,
    )


def _parse_rating(row: Row) -> _RatingRow:
    ratings: dict[str, float] = {name: integer(row, name, 0, 4) for name in HELPSTEER_ATTRIBUTES}
    return _RatingRow(text(row, "prompt"), text(row, "response"), ratings)


def _parse_preference(row: Row) -> _PreferenceRow:
    return _PreferenceRow(
        # The other value is "val" in the released file; NeMo-Aligner, too, only asks for "train".
        split="train" if text(row, "split") == "train" else "validation",
        prompt=text(row, "prompt"),
        responses=(text(row, "response_1"), text(row, "response_2")),
        strength=integer(row, "preference_strength", -3, 3),
        justification=justification_of(
            _optional(row, "preference_elaboration"), _optional(row, "preference_statement")
        ),
        single=_single_preferences(row),
    )


def _optional(row: Row, key: str) -> str | None:
    return None if row.get(key) is None else text(row, key)


def _single_preferences(row: Row) -> tuple[int, ...]:
    """[N] each annotator's strength; none where the row does not say."""
    key = "all_preferences_unprocessed"
    if row.get(key) is None:
        return ()
    annotations = given(row, key)
    if not isinstance(annotations, list) or not all(isinstance(one, dict) for one in annotations):
        raise DataError(f'"{key}" is {annotations!r:.40}; expected a list of {{"strength", "justification"}}')
    return tuple(integer(one, "strength", -3, 3, or_else=UNUSABLE) for one in annotations)
