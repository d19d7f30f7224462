"""Single values that no run can use, whatever the other keys say."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nemo_hs2pref.config.overrides import kinds_of
from nemo_hs2pref.errors import ConfigError

MAY_BE_EMPTY = "cluster.environment."  # a variable that is set to nothing
Found = Iterator[tuple[str, object]]


def refuse_lost_text(composed: DictConfig, schema: type) -> None:
    """Text that stands in a YAML file without quotes and was read as a number, as a time 12:00:00 is 43200."""
    for key, value in leaves(OmegaConf.to_container(composed, resolve=False)):
        is_text = str in kinds_of(schema, key) or list[str] in kinds_of(schema, key)
        if is_text and isinstance(value, int | float):
            raise ConfigError(f"{key}={value}: YAML makes that of a text without quotes in conf/; put it in quotes")


def refuse_unusable(config: object) -> None:
    """Text without a letter, and numbers that are not finite."""
    for key, value in leaves(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key}={value}: expected a finite number")
        if isinstance(value, str) and not value.strip() and not key.startswith(MAY_BE_EMPTY):
            raise ConfigError(f"{key}={value!r}: is empty; give a value")


def leaves(value: Any, key: str = "") -> Found:
    """Dotted key and value of everything in dataclasses, mappings and lists; an item of a list has the list's key."""
    if is_dataclass(value):
        value = {item.name: getattr(value, item.name) for item in fields(value)}
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield from leaves(below, f"{key}.{name}" if key else str(name))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from leaves(item, key)
    else:
        yield key, value
