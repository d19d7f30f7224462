"""JSON of files that anybody may have written, as the type that it must be; what does not fit is one sentence.

    state = from_json(RunState, path.read_bytes(), path, TrainingError)

A type is a dataclass, a TypedDict, str, int, float, bool, None, a Literal, list[T], tuple[T, ...], dict[str, T],
Mapping[str, T], Any, or several of these with `|`. Numbers are finite, a whole number is a float too, true is none.
Text can be written as UTF-8. A dataclass whose __post_init__ raises ValueError says what else must hold. Keys that a
type does not know are another version's and are left out.
"""

import json
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from nemo_hs2pref.errors import HS2PrefError, kind_of

T = TypeVar("T")
MOST_BYTES = 64 << 20  # of a document; the longest are tokenizers, of 35 MB
NAMES: Mapping[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
    list: "a list",
    dict: "an object",
}


class Unfit(ValueError):
    """A value that does not fit its type; the keys that lead to it, and why."""

    def __init__(self, keys: Sequence[str | int], reason: str) -> None:
        super().__init__(keys, reason)
        self.keys, self.reason = keys, reason

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.keys))!r} {self.reason}" if self.keys else f"the document {self.reason}"


def from_json(kind: type[T], text: str | bytes, where: object, error: type[HS2PrefError] = HS2PrefError) -> T:
    """The JSON document `text` as a `kind`; raises `error` with `where`, a file, in front."""
    try:
        value = parse(text)
    except ValueError as fault:
        raise error(f"{where}: {fault}") from None
    return from_plain(kind, value, where, error)


def from_file(kind: type[T], path: Path, error: type[HS2PrefError] = HS2PrefError) -> T:
    """The JSON document in a file; raises `error`, or MachineError where the disk fails."""
    try:
        value = parse_file(path)
    except OSError as refusal:
        raise kind_of(refusal, error)(f"{path}: cannot be read ({refusal.strerror or refusal})") from None
    except ValueError as fault:
        raise error(f"{path}: {fault}") from None
    return from_plain(kind, value, path, error)


def from_plain(kind: type[T], value: object, where: object, error: type[HS2PrefError] = HS2PrefError) -> T:
    """What JSON holds, already parsed, as a `kind`."""
    try:
        return fit(kind, value, ())
    except Unfit as fault:
        raise error(f"{where}: {fault}") from None


def parse_file(path: Path) -> object:
    """As `parse`, of a file that may have any size; raises OSError too."""
    with path.open("rb") as stream:
        text = stream.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES:,} bytes, which no such document has")
    return parse(text)


def parse(text: str | bytes) -> object:
    """Raises ValueError, whose text ends a sentence, for all that is not one JSON document in UTF-8."""
    try:
        return json.loads(text.decode("utf-8") if isinstance(text, bytes) else text, object_pairs_hook=each_once)
    except KeyTwice:
        raise
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    except (ValueError, RecursionError) as error:  # bad syntax, a number of 5,000 digits, 1,000 nested lists
        raise ValueError(f"not JSON ({error})") from None


class KeyTwice(ValueError):
    """An object in which a key stands twice: the last would win, and what the others say be lost."""


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For json.loads; raises KeyTwice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise KeyTwice(f'the key "{twice}" stands twice in one object; expected each key once')
    return made


def fit(kind: Any, value: object, keys: tuple[str | int, ...]) -> Any:
    """`value` as a `kind`, a type that `from_json` knows; raises Unfit."""
    origin, parts = get_origin(kind) or kind, get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return one_of(kind, value, keys)
    if origin is Literal:
        if not any(value == each and type(value) is type(each) for each in parts):
            raise Unfit(keys, f"is {shown(value)}, expected {' or '.join(map(repr, parts))}")
        return value
    if is_record(kind):
        return record(kind, require(dict, value, keys), keys)
    if origin in (list, tuple, Sequence):
        items = require(list, value, keys)
        fitted = [fit(parts[0] if parts else Any, item, (*keys, number)) for number, item in enumerate(items)]
        return tuple(fitted) if origin is tuple else fitted
    if origin in (dict, Mapping):
        of = parts[1] if parts else Any
        return {
            require(str, key, keys): fit(of, item, (*keys, key)) for key, item in require(dict, value, keys).items()
        }
    return require(origin, value, keys)


def one_of(kind: Any, value: object, keys: tuple[str | int, ...]) -> Any:
    faults: list[Unfit] = []
    for each in get_args(kind):
        try:
            return fit(each, value, keys)
        except Unfit as fault:
            faults.append(fault)
    deepest = max(faults, key=lambda fault: len(fault.keys))
    if len(deepest.keys) > len(keys):
        raise deepest
    if isinstance(value, dict) and (records := [each for each in get_args(kind) if is_record(each)]):
        return fit(records[0], value, keys)  # which says what is missing
    expected = " or ".join(NAMES.get(each, "an object") for each in get_args(kind))
    raise Unfit(keys, f"is {shown(value)}, expected {expected}")


def is_record(kind: Any) -> bool:
    return is_dataclass(kind) or is_typeddict(kind)


def record(kind: Any, value: dict[str, object], keys: tuple[str | int, ...]) -> Any:
    required, hints = names_of(kind)
    if missing := [name for name in required if name not in value]:
        raise Unfit(keys, f"has no {missing[0]!r}")
    given = {name: fit(hint, value[name], (*keys, name)) for name, hint in hints.items() if name in value}
    try:
        return kind(**given)
    except Unfit:
        raise
    except ValueError as error:  # of __post_init__
        raise Unfit(keys, str(error)) from None


@cache
def names_of(kind: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The keys that must be there, and the type of each that may."""
    hints = get_type_hints(kind)
    if not is_dataclass(kind):
        return tuple(sorted(kind.__required_keys__)), hints
    inits = [item for item in fields(kind) if item.init]
    required = tuple(item.name for item in inits if item.default is MISSING and item.default_factory is MISSING)
    return required, {item.name: hints[item.name] for item in inits}


def require(kind: Any, value: Any, keys: tuple[str | int, ...]) -> Any:
    """`value`, if it is what JSON has for `kind`."""
    if kind is float and type(value) is int:
        value = as_float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise Unfit(keys, f"is {shown(value)}, expected {NAMES[kind]}")
    if kind is str and any("\ud800" <= character <= "\udfff" for character in value):
        raise Unfit(keys, f"is {shown(value)}, which is no Unicode text")
    return value


def as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def shown(value: object) -> str:
    """Short, in one line and without control characters, whatever it is."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    return NAMES[type(value)] if value is None or isinstance(value, list | dict) else str(value).lower()
