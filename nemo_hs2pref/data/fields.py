"""Single fields of a JSON row, checked: a fault names the key, what stands there and what was expected."""

from collections.abc import Collection, Mapping
from typing import Any, TypeGuard

from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.errors import DataError

LARGEST = 1_000_000
UNNAMED = "-"  # the id that a reader gives to a row without one


def text(row: Row, key: str) -> str:
    """A string that UTF-8 can hold (JSON can spell half of a surrogate pair, which no tokenizer takes)."""
    value = given(row, key)
    if not isinstance(value, str):
        raise DataError(f'"{key}" is {value!r:.40}; expected a string')
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f'"{key}" holds half of a surrogate pair, which is not text') from None
    return value


def nonempty(row: Row, key: str) -> str:
    """A string with more than white space."""
    value = text(row, key)
    if not value.strip():
        raise DataError(f'"{key}" is empty')
    return value


def integer(row: Row, key: str, low: int, high: int, or_else: int | None = None) -> int:
    """An integer from `low` to `high`, or the one other value that stands for none; 2.0 is 2."""
    value = whole(given(row, key))
    if value is None or not (low <= value <= high or value == or_else):
        other = "" if or_else is None else f", or {or_else}"
        raise DataError(f'"{key}" is {row[key]!r:.40}; expected an integer {low} to {high}{other}')
    return value


def numbers(row: Row, key: str, names: Collection[str]) -> dict[str, float]:
    """An object with at least one finite number, all of them under known names; a null stands for none."""
    values = given(row, key)
    if isinstance(values, dict):
        values = {name: value for name, value in values.items() if value is not None}
    if not isinstance(values, dict) or not values:
        raise DataError(f'"{key}" is {values!r:.40}; expected an object such as {{"helpfulness": 3}}')
    for name, value in values.items():
        if name not in names:
            raise DataError(f'"{key}" has the unknown name {name!r}; the names are {", ".join(names)}')
        if not is_number(value):
            raise DataError(f'"{key}" has {name} = {value!r:.40}; expected a finite number, at most {LARGEST:,}')
    return values


def is_integer(value: object) -> TypeGuard[int]:
    """JSON's true and false are integers to Python; they are not here."""
    return isinstance(value, int) and not isinstance(value, bool)


def whole(value: object) -> int | None:
    """The integer that a value is, where it is one: many programs make floats of a column of integers with gaps."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:  # beyond, floats skip integers
        return int(value)
    return value if is_integer(value) else None


def is_number(value: object) -> TypeGuard[float]:
    """A number that ratings and sums of them can be; JSON as Python reads it may spell others."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= LARGEST  # no comparison holds for NaN


def is_absent(value: object) -> bool:
    """Null, and an object of nothing but nulls, which is how a table's column of objects spells null."""
    return value is None or (isinstance(value, Mapping) and bool(value) and all(map(is_absent, value.values())))


def given(row: Row, key: str) -> Any:
    """The value of a key that must be there."""
    if key not in row:
        names = ", ".join(name for name, value in row.items() if (name, value) != ("id", UNNAMED))
        raise DataError(f'no "{key}"; the keys are {names or "none"}')
    return row[key]
