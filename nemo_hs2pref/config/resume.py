"""A run folder goes on with the run that it holds, not with another one.

Every key must stay what it was, unless its field says that it may change (schema/fields.py): so a new key is safe.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.config.schema.fields import BEFORE_IT, FREE, LENGTH, NO, Change, Key, keys_of
from nemo_hs2pref.errors import ConfigError


def identity(config: DictConfig, schema: type[RunConfig]) -> dict[str, Any]:
    """What a start must ask for to be the same run with the same end, by dotted keys; as JSON holds it."""
    plain = OmegaConf.to_container(config)
    return {key: value_at(plain, key, None) for key, about in keys_of(schema) if about.may_change != FREE}


def refuse_other_rows(folder: str, stored: Mapping[str, str], given: Mapping[str, str]) -> None:
    """Raise ConfigError for the first file of rows in which the run in `folder` differs; file -> SHA-256.

    None may change: a step that is taken again must find the same rows, and best values are compared on the same ones.
    """
    for name in sorted({*stored, *given}):
        old, new = (of[name][:12] + "..." if name in of else "not there" for of in (stored, given))
        if stored.get(name) != given.get(name):
            raise ConfigError(
                f"{name} is not the file of rows that the run in {folder} has read (SHA-256 {new}, it was {old}); "
                "put that file back, or choose another exp_manager.explicit_log_dir"
            )


def refuse_other_run(folder: str, stored: Mapping[str, Any], given: DictConfig, schema: type[RunConfig]) -> None:
    """Raise ConfigError for the first key in which the run in `folder` differs from the one asked for.

    stored: the resolved configuration of that run, which may be older than a key.
    """
    is_constant = given.model.optim.lr == given.model.optim.sched.min_lr
    must_stay: tuple[Change, ...] = (NO,) if is_constant else (NO, LENGTH)
    plain = OmegaConf.to_container(given)
    for key, about in sorted(keys_of(schema), key=lambda item: order(item[0])):
        if about.may_change not in must_stay:
            continue
        for name, old, new in differences(key, about, stored, plain):
            raise ConfigError(
                f"{folder} holds a run with {name}={old}, asked for is {new}; choose another "
                "exp_manager.explicit_log_dir, or set exp_manager.resume_if_exists=false to start that one anew"
            )


def order(key: str) -> tuple[bool, bool]:
    """What a recipe adds comes first, as its loss: what is read and monitored follows from it, and explains nothing."""
    section = key.partition(".")[0]
    return section in {item.name for item in fields(RunConfig)}, section == "exp_manager"


def differences(key: str, about: Key, stored: Any, given: Any) -> Iterator[tuple[str, Any, Any]]:
    """(key, value of the run, value asked for), where they are not the same.

    What is older than the key, or than a name in its mapping, has what the field says was done before it.
    """
    before = None if about.before is BEFORE_IT else about.before
    old, new = value_at(stored, key, before), value_at(given, key, before)
    if about.before is not BEFORE_IT and isinstance(old, Mapping) and isinstance(new, Mapping):
        old, new = ({name: of.get(name, before) for name in sorted({*old, *new})} for of in (old, new))
    if old != new:
        yield key, old, new


def value_at(stored: Any, key: str, absent: Any) -> Any:
    """The value of a dotted key, as it is stored; `absent` where there is none."""
    for name in key.split("."):
        if not isinstance(stored, Mapping) or name not in stored:
            return absent
        stored = stored[name]
    return stored
