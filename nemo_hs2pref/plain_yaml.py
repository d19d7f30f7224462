"""YAML that anybody may have written, as plain values, at a cost that its size bounds.

Read are mappings, lists, text, numbers, true, false and null, with OmegaConf's rule that 1e-5 is a number and a date is
text. Nothing else is built, and `${...}` is text like any other. A few lines of aliases can stand for more values than
any memory holds, and of merge keys (`<<`) cost as much time: aliases are counted as what they stand for, merge keys are
refused. PyYAML's loader in C is faster, and nesting that is deep enough ends the process there: it is not used.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from nemo_hs2pref.errors import HS2PrefError, kind_of

MOST_BYTES = 2**18  # NeMo's own files have some ten thousand
MOST_VALUES = 100_000  # with what aliases stand for
MOST_DIGITS = 100
FLOAT, INT, TIMESTAMP, MERGE = (f"tag:yaml.org,2002:{name}" for name in ("float", "int", "timestamp", "merge"))


class Loader(yaml.SafeLoader):
    """Builds no objects, takes no key twice and no merge keys."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == MERGE:
                raise yaml.constructor.ConstructorError(None, None, "merge keys (<<) are not read", key.start_mark)
            if key.value in seen if isinstance(key, yaml.ScalarNode) else True:
                what = f"key {key.value!r:.60} twice" if isinstance(key, yaml.ScalarNode) else "a key that is no text"
                raise yaml.constructor.ConstructorError(None, None, f"found {what}", key.start_mark)
            seen.add(key.value)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        if len(node.value) > MOST_DIGITS:  # in base 60, which YAML has, long ones take minutes
            raise yaml.constructor.ConstructorError(None, None, "found a number of too many digits", node.start_mark)
        return self.construct_yaml_int(node) if node.tag == INT else self.construct_yaml_float(node)


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(FLOAT, re.compile(r"[-+]?[0-9]+(?:_[0-9]+)*[eE][-+]?[0-9]+$"), list("-+0123456789"))
for tag in (INT, FLOAT):
    Loader.add_constructor(tag, Loader.construct_number)


def read_yaml(file: Path, error: type[HS2PrefError]) -> dict[str, Any]:
    """The mapping in `file`; raises `error` in one sentence for all else, MachineError where the disk fails."""
    try:
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as refusal:
        raise kind_of(refusal, error)(f"{file}: cannot be read ({refusal.strerror or refusal})") from None
    try:
        if len(content) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
        document = yaml.load(content.decode("utf-8"), Loader)
        if not isinstance(document, dict):
            raise ValueError(f"it holds {type(document).__name__}")
        return tree(document, counter(MOST_VALUES))
    except UnicodeDecodeError as fault:
        reason = f"byte {fault.start} is not UTF-8"
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        reason = f"{fault.problem or fault.context}{f', line {mark.line + 1}' if mark else ''}"
    except RecursionError:
        reason = "its values are nested too deeply"
    except (ValueError, yaml.YAMLError) as fault:
        reason = str(fault).splitlines()[0]
    raise error(f"{file}: no YAML with the keys of a configuration ({reason}); copy it again") from None


def counter(most: int) -> Callable[[], None]:
    """What is called `most` times at most; then ValueError."""
    left = most

    def count() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(f"its aliases stand for more than {most:,} values")

    return count


def tree(value: Any, count: Callable[[], None]) -> Any:
    """A copy without shared parts, whose keys are text; an alias inside of what it stands for has no end."""
    count()
    if isinstance(value, dict):
        return {str(key): tree(part, count) for key, part in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [tree(part, count) for part in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("it holds half of a surrogate pair, which is no Unicode text")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise ValueError(f"it holds {type(value).__name__}")  # a set, bytes, pairs
