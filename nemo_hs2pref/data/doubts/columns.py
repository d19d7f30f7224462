"""Columns of other people's pairs that say which response is better, beside chosen and rejected."""

import re
from contextlib import suppress
from functools import lru_cache

from nemo_hs2pref.data.fields import is_number
from nemo_hs2pref.data.jsonl import Row

GOOD = re.compile("score|rating|reward|grade|votes|likes|wins")  # more is better; not so of ranks and losses
MARGIN = re.compile(r"((score|rating|reward|preference)s?[_-])?(margin|diff|difference|gap)")
STATUS = ("status", "label", "result", "verdict")
NOT_PREFERRED = {"tie", "tied", "draw", "rejected", "discarded", "invalid"}  # in Argilla's records, for one


def contradicts(row: Row) -> bool:
    """Whether a column of a row with "chosen" and "rejected" says that the chosen response is not the better one.

    Equal scores contradict nothing, and what is no number says nothing.
    """
    if "chosen" not in row or "rejected" not in row:
        return False
    return any(_says_worse(row, key) for key in row) or any(
        str(row.get(key)).strip().lower() in NOT_PREFERRED for key in STATUS
    )


def _says_worse(row: Row, key: str) -> bool:
    """A margin below 0, or a score of the chosen response below the rejected one's."""
    counterpart = _counterpart(key)
    if not counterpart and not _is_margin(key):
        return False
    value, other = _number(row[key]), _number(row.get(counterpart))
    if value is None:
        return False
    return value < other if other is not None else _is_margin(key) and value < 0


def _number(value: object) -> float | None:
    """Also of text, as tables of CSV keep numbers."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = float(value)
    return value if is_number(value) else None


@lru_cache(1024)  # the rows of a file have the same keys
def _counterpart(key: str) -> str:
    """Of score_chosen it is score_rejected; none where more need not be better."""
    return key.replace("chosen", "rejected") if "chosen" in key and GOOD.search(key.lower()) else ""


@lru_cache(1024)
def _is_margin(key: str) -> bool:
    return MARGIN.fullmatch(key.lower()) is not None
