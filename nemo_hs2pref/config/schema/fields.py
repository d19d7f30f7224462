"""How a field of a schema says more than its type: which values it takes, and whether a run may go on with another.

    patience: int = key(positive, may_change=ENDS)

A field that says nothing takes every value of its type and must stay what it was when a run goes on: a new key is safe
until somebody has thought about it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_args

from omegaconf import MISSING

Check = Callable[[Any], str | None]  # what is wrong with a value, as the end of a sentence
Change = Literal["no", "length", "ends", "free"]
NO: Change = "no"  # it is what the stored weights, optimizer, schedule and counters mean
LENGTH: Change = "length"  # may change where the learning rate is constant
ENDS: Change = "ends"  # may change, and a finished run is another one with it
FREE: Change = "free"  # may change, and a finished run stays finished
BEFORE_IT = object()  # no run is older than the key


@dataclass(frozen=True)
class Key:
    """What a field says of itself."""

    check: Check | None = None
    may_change: Change = NO
    before: Any = BEFORE_IT  # what runs did that are older than the key, or than a name in its mapping
    is_open: bool = False  # a mapping whose names are the user's; else they are those of conf/


def key(check: Check | None = None, *, may_change: Change = NO, before: Any = BEFORE_IT, is_open: bool = False) -> Any:
    """A field without a default: its value stands in conf/."""
    return field(default=MISSING, metadata={"key": Key(check, may_change, before, is_open)})


def said_of(item: "Field[Any]") -> Key:
    return item.metadata.get("key", Key())


def positive(value: float) -> str | None:
    return None if value > 0 else "must be greater than 0"


def probability(value: float) -> str | None:
    return None if 0 <= value < 1 else "must be a probability below 1"


def one_of(*allowed: object) -> Check:
    return lambda value: None if value in allowed else f"expected one of {', '.join(map(str, allowed))}"


def some_of(*allowed: str) -> Check:
    def check(value: Sequence[str]) -> str | None:
        return None if value and set(value) <= {*allowed} else f"expected a selection of {', '.join(allowed)}"

    return check


def said(config: object, path: str = "") -> Iterator[tuple[str, Any, Key]]:
    """(dotted key, value, what its field says) of everything in a configuration that is no section."""
    assert is_dataclass(config) and not isinstance(config, type)
    for item in fields(config):
        name, value = f"{path}{item.name}", getattr(config, item.name)
        if is_dataclass(value):
            yield from said(value, f"{name}.")
        else:
            yield name, value, said_of(item)


def keys_of(schema: type, path: str = "") -> Iterator[tuple[str, Key]]:
    """(dotted key, what its field says) of every key that a schema has; of a section that may be null, its keys."""
    for item in fields(schema):
        name = f"{path}{item.name}"
        kinds = [kind for kind in (item.type, *get_args(item.type)) if isinstance(kind, type) and is_dataclass(kind)]
        if kinds:
            yield from keys_of(kinds[0], f"{name}.")
        else:
            yield name, said_of(item)
