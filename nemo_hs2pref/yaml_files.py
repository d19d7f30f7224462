"""YAML of others as data: plain values, nothing resolved, no object built.

OmegaConf reads `${oc.env:NAME}` as the variable NAME of this machine, and its value would go where the file's do: into
checkpoints, reports and logs. Only what a user types for this very run is OmegaConf's (config/load.py).

A file costs what its size lets expect. A few lines of aliases can stand for more values than any memory holds, so they
are counted as what they stand for; merge keys (`<<`) multiply while they are read, and are refused. PyYAML's loader in
C is faster, and a file of brackets ends the process there: it is not used.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from nemo_hs2pref.errors import HS2PrefError, kind_of

MOST_BYTES = 2**18  # NeMo's own files have some ten thousand
MOST_VALUES = 100_000  # with every alias as the values that it stands for
MOST_DIGITS = 100  # a number in base 60, which YAML has, takes minutes where it is long
FLOAT, INT, TIME, MERGE = (f"tag:yaml.org,2002:{name}" for name in ("float", "int", "timestamp", "merge"))
NO_POINT = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$")  # 1e-5, which YAML 1.1 takes for text, and OmegaConf does not


class Reader(yaml.SafeLoader):
    """Refuses tags, which may stand for objects, and a key that is there twice; dates stay text."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(
                problem=f"the tag {event.tag}, expected plain values", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set[str]()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == MERGE:
                what = "a merge key (<<)" if key.tag == MERGE else "a key that is no text"
                raise yaml.MarkedYAMLError(problem=f"{what}, expected plain values", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value} is there twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: Any) -> int | float:
        if len(node.value) > MOST_DIGITS:
            raise yaml.MarkedYAMLError(problem="a number of too many digits", problem_mark=node.start_mark)
        return self.construct_yaml_int(node) if node.tag == INT else self.construct_yaml_float(node)


class Writer(yaml.SafeDumper):
    """Quotes what Reader would not take for text."""


Reader.add_constructor(TIME, Reader.construct_yaml_str)
for number in (INT, FLOAT):
    Reader.add_constructor(number, Reader.construct_number)
for kind in (Reader, Writer):
    kind.add_implicit_resolver(FLOAT, NO_POINT, list("-+0123456789"))


def read_yaml(file: Path, error: type[HS2PrefError]) -> dict[str, Any]:
    """The mapping in a YAML file; an `error` of one sentence for whatever else is there."""
    try:
        if file.stat().st_size > MOST_BYTES:
            raise error(
                f"{file}: has {file.stat().st_size:,} bytes, expected a configuration of at most {MOST_BYTES:,}"
            )
        content = yaml.load(file.read_text(encoding="utf-8"), Reader)
        count(content, {})
    except OSError as refusal:
        raise kind_of(refusal, error)(f"{file}: cannot be read ({refusal.strerror or refusal})") from None
    except yaml.MarkedYAMLError as fault:
        mark: Any = fault.problem_mark
        line = f":{mark.line + 1}" if mark else ""
        raise error(f"{file}{line}: not plain YAML ({fault.problem}); copy or write it again") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as fault:
        reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise error(f"{file}: not plain YAML ({reason}); copy or write it again") from None
    if not isinstance(content, dict):
        raise error(f"{file}: holds {type(content).__name__}, expected keys with values")
    return {str(key): value for key, value in content.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] YAML


def count(value: Any, known: dict[int, int]) -> int:
    """How many values there are; raises ValueError for too many, and where one holds itself."""
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) not in known:
        known[id(value)] = MOST_VALUES  # until it is counted: what holds itself has no end
        parts: Any = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(count(part, known) for part in parts)
    if known[id(value)] >= MOST_VALUES:
        raise ValueError(f"its aliases stand for more than {MOST_VALUES:,} values, or for themselves")
    return known[id(value)]


def dumped(value: Mapping[str, Any]) -> str:
    """As YAML, keys in their order."""
    return yaml.dump(dict(value), Dumper=Writer, default_flow_style=False, allow_unicode=True, sort_keys=False)


def refuse_interpolations(config: Mapping[str, Any], where: str, error: type[HS2PrefError]) -> None:
    """Before a configuration of others comes to OmegaConf, which would resolve what stands in it."""
    for key, text in texts(config):
        if "${" in text:
            raise error(f"{where}: {key} is {text!r}; what a file names is never looked up, write its value there")


def texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Each text with its dotted key; keys themselves too."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, part in value.items():  # pyright: ignore[reportUnknownVariableType] YAML
            inner = f"{key}.{name}" if key else str(name)
            yield inner, str(name)
            yield from texts(part, inner)
    elif isinstance(value, (list, tuple)):
        for place, part in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] YAML
            yield from texts(part, f"{key}[{place}]")
