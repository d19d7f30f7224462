"""The official rows of HelpSteer2 and HelpSteer2-Preference as records.

A row of the wrong form (missing key, other type, number out of range) is an error, reported with all others of its
file. A row of the right form that nothing can be trained on is dropped and counted by reason:

    tie              the overall preference is 0; the released file has 2,007 of these, the paper leaves them out
    empty_response   a response without text
    bad_turns        the turns inside the prompt do not alternate, or one is empty
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path

from nemo_hs2pref.data.fields import integer, text
from nemo_hs2pref.data.groups import SPLITS, Outputs, Split
from nemo_hs2pref.data.jsonl import Row, collect
from nemo_hs2pref.data.rated_pairs import add_ratings
from nemo_hs2pref.data.records import (
    HELPSTEER_ATTRIBUTES,
    Message,
    PreferencePair,
    RatedResponse,
    Role,
    check_turns,
)
from nemo_hs2pref.data.sources import Release, Table
from nemo_hs2pref.errors import DataError

RATING_FILES = {"train": "train.jsonl", "validation": "validation.jsonl"}
RELEASE = Release(
    "nvidia/HelpSteer2",
    ({**RATING_FILES, "preference": "preference/preference.jsonl"},),
    sample=Path(__file__).parent / "sample",
)
RESPONSES_PER_PROMPT = 2
TURN_MARKER = re.compile(r"\n<extra_id_1>(Assistant|User)\n")
ROLE_OF_MARKER: dict[str, Role] = {"Assistant": "assistant", "User": "user"}


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


def read(tables: Mapping[str, Table]) -> Outputs:
    """Ratings and pairs; the pairs carry the ratings of their responses where those of the split are there."""
    ratings = {split: read_rated_responses(tables[split], split) for split in SPLITS if split in tables}
    outputs: Outputs = {f"ratings.{split}.jsonl": groups for split, groups in ratings.items()}
    preferences = read_preferences(tables["preference"]) if "preference" in tables else {}
    for split, (pairs, dropped) in preferences.items():
        rated = chain.from_iterable(ratings[split][0]) if split in ratings else ()
        outputs[f"pairs.{split}.jsonl"] = ([(pair,) for pair in add_ratings(pairs, rated)], dropped)
    return outputs


def split_prompt(prompt: str) -> tuple[Message, ...]:
    r"""The turns of an official prompt, in which the first and the last turn carry no outer marker:

        {user}\n<extra_id_1>Assistant\n{assistant}\n<extra_id_1>User\n{user}

    Raises DataError where the turns do not alternate, one is empty, or the last is not the user's.
    """
    first, *rest = TURN_MARKER.split(prompt)
    later = zip(rest[::2], rest[1::2], strict=True)
    messages = (Message("user", first), *(Message(ROLE_OF_MARKER[marker], content) for marker, content in later))
    check_turns(messages, last="user")
    return messages


def read_rated_responses(
    table: Table, split: Split, per_prompt: int = RESPONSES_PER_PROMPT
) -> tuple[list[tuple[RatedResponse, ...]], Counter[str]]:
    """The rated responses of train.jsonl or validation.jsonl, grouped by prompt, and what was dropped.

    The n-th group has the id "<split>-<n>" (n from 1), its responses "<split>-<n>:1", "<split>-<n>:2" and so on, at
    most `per_prompt`. A row whose neighbours have other prompts stands alone.
    """
    groups: list[tuple[RatedResponse, ...]] = []
    dropped: Counter[str] = Counter()
    neighbours = _neighbours(collect(table.name, table.lines, _parse_rating), per_prompt)
    for number, rows in enumerate(neighbours, start=1):
        group = []
        for side, row in enumerate(rows, start=1):
            reason = _reason_to_drop(row.prompt, row.response)
            if reason is None:
                messages = (*split_prompt(row.prompt), Message("assistant", row.response))
                group.append(RatedResponse(f"{split}-{number}:{side}", messages, row.ratings))
            else:
                dropped[reason] += 1
        if group:
            groups.append(tuple(group))
    return groups, dropped


def read_preferences(table: Table) -> dict[Split, tuple[list[PreferencePair], Counter[str]]]:
    """The oriented pairs of preference.jsonl by split, and what was dropped; row n (from 1) is "preference-<n>"."""
    kept: dict[Split, tuple[list[PreferencePair], Counter[str]]] = {
        "train": ([], Counter()),
        "validation": ([], Counter()),
    }
    for number, row in enumerate(collect(table.name, table.lines, _parse_preference), start=1):
        pairs, dropped = kept[row.split]
        reason = "tie" if row.strength == 0 else _reason_to_drop(row.prompt, *row.responses)
        if reason is None:
            rejected, chosen = row.responses if row.strength > 0 else reversed(row.responses)
            prompt = split_prompt(row.prompt)
            pairs.append(PreferencePair(f"preference-{number}", prompt, chosen, rejected, abs(row.strength)))
        else:
            dropped[reason] += 1
    return kept


def _neighbours(rows: list[_RatingRow], per_prompt: int) -> Iterator[list[_RatingRow]]:
    """Consecutive rows of one prompt, `per_prompt` at a time: a prompt that was used twice gives two groups."""
    for _, group in groupby(rows, key=lambda row: row.prompt):
        same_prompt = list(group)
        yield from (same_prompt[start : start + per_prompt] for start in range(0, len(same_prompt), per_prompt))


def _reason_to_drop(prompt: str, *responses: str) -> str | None:
    if not all(response.strip() for response in responses):
        return "empty_response"
    try:
        split_prompt(prompt)
    except DataError:
        return "bad_turns"
    return None


def _parse_rating(row: Row) -> _RatingRow:
    ratings: dict[str, float] = {name: integer(row, name, 0, 4) for name in HELPSTEER_ATTRIBUTES}
    return _RatingRow(text(row, "prompt"), text(row, "response"), ratings)


def _parse_preference(row: Row) -> _PreferenceRow:
    # The other value is "val" in the released file; NeMo-Aligner, too, only asks for "train".
    split: Split = "train" if text(row, "split") == "train" else "validation"
    responses = (text(row, "response_1"), text(row, "response_2"))
    return _PreferenceRow(split, text(row, "prompt"), responses, integer(row, "preference_strength", -3, 3))
