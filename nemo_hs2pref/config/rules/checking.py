"""Rules applied: all failures are reported together."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.errors import ConfigError

Config = TypeVar("Config", bound=RunConfig)
Checkpoint = Mapping[
    str, Any
]  # model_config.yaml of pretrained_checkpoint.restore_from_path; empty where there is none
Rule = Callable[[Config, Checkpoint], Iterator[str]]


def faults_of(rules: Sequence[Rule[Config]], config: Config, checkpoint: Checkpoint) -> list[str]:
    """One sentence for every broken rule."""
    return [fault for rule in rules for fault in rule(config, checkpoint)]


def refuse(faults: Sequence[str]) -> None:
    """Raise one ConfigError with every fault, if there is any."""
    if faults:
        raise ConfigError(listed(faults))


def listed(faults: Sequence[str]) -> str:
    if len(faults) == 1:
        return faults[0]
    return f"{len(faults)} settings cannot work:" + "".join(f"\n  {fault}" for fault in faults)
