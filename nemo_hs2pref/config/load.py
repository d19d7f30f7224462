"""Compose a configuration from conf/ and command-line overrides; every key that is not known stops."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args, get_origin

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nemo_hs2pref.config.overrides import for_hydra, kinds_of, typed
from nemo_hs2pref.config.values import leaves, refuse_lost_text, refuse_unusable
from nemo_hs2pref.errors import ConfigError

Schema = TypeVar("Schema")
UNSET = re.compile(r"Environment variable '(.+?)' not found")
NOWHERE: Mapping[str, str] = MappingProxyType({})
NOT_GIVEN = "/not-given"  # stands for a text that is missing, while the rest is checked and shown


def config_dir() -> Path:
    """conf/ inside the installed package, or at the root of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def load_config(
    config_name: str, overrides: Sequence[str], schema: type[Schema], moved: Mapping[str, str] = NOWHERE
) -> tuple[Schema, DictConfig]:
    """The typed configuration, and the same resolved as YAML can hold it.

    moved: keys that people know from elsewhere -> what to do instead.

    Raises ConfigError for an unknown key or group (with the nearest known one), a value of another type, text that
    YAML has made a number of, an empty text, a number that is not finite, or a value that is still missing.
    """
    composed = compose_config(config_name, overrides, schema, moved)
    refuse_unknown(composed, schema, moved)
    refuse_lost_text(composed, schema)
    refuse_missing(composed)
    try:
        typed_config = OmegaConf.merge(OmegaConf.structured(schema), composed)
        config = OmegaConf.to_object(typed_config)
        OmegaConf.resolve(composed)
    except OmegaConfBaseException as error:
        raise ConfigError(unresolved(error, composed)) from None
    assert isinstance(config, schema)
    refuse_unusable(config)
    return config, composed


def load_to_show(
    config_name: str, overrides: Sequence[str], schema: type[Schema], moved: Mapping[str, str] = NOWHERE
) -> tuple[Schema | None, str, list[str]]:
    """The configuration as far as it is given: typed, as YAML, and the keys that are missing.

    A missing text is NOT_GIVEN in the first and ??? in the second, where all other values are resolved. While another
    value is missing there is no first, and the second stands as it was composed.
    """
    composed = compose_config(config_name, overrides, schema, moved)
    missing = missing_keys(composed)
    if any(str not in kinds_of(schema, key) for key in missing):
        refuse_unknown(composed, schema, moved)
        return None, OmegaConf.to_yaml(composed), missing
    places = [f"{key}={NOT_GIVEN}" for key in missing]
    config, resolved = load_config(config_name, [*overrides, *places], schema, moved)
    return config, OmegaConf.to_yaml(resolved).replace(NOT_GIVEN, "???"), missing


def unresolved(error: OmegaConfBaseException, composed: DictConfig) -> str:
    """What cannot be resolved or converted, and for a variable that is not set what to type."""
    reason = str(error.msg or error).splitlines()[0]
    if error.full_key is None:
        return reason
    if not (variable := UNSET.search(reason)):
        return f"{error.full_key}: {reason}"
    name, plain = variable[1], OmegaConf.to_container(composed, resolve=False)
    raw = str(at(plain, str(error.full_key)))
    with_default = typed(str(error.full_key), raw.replace(f"${{oc.env:{name}}}", f"${{oc.env:{name},VALUE}}"))
    return (
        f"{error.full_key}={raw}: the environment variable {name} is not set; export it, or type what stands for it: "
        f"{with_default}"
    )


def at(plain: Any, key: str) -> object:
    """The value of a dotted key, with [2] for an item of a list."""
    for name in re.findall(r"[^.\[\]]+", key):
        plain = plain[name] if isinstance(plain, Mapping) else plain[int(name)]
    return plain


def compose_config(
    config_name: str, overrides: Sequence[str], schema: type, moved: Mapping[str, str] = NOWHERE
) -> DictConfig:
    """Hydra's composition, with its errors in one sentence."""
    names = sorted(path.stem for path in config_dir().glob("*.yaml"))
    if config_name not in names:
        raise ConfigError(f"--config-name {config_name}: not in {config_dir()}; there are {', '.join(names)}")
    words = for_hydra(overrides, schema, groups())
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        try:
            return compose(config_name, overrides=words)
        except HydraException as error:
            message = str(error)
        except (
            AssertionError,
            OSError,
            TypeError,
            ValueError,
        ) as error:  # Hydra's own code met what it does not look for
            given, reason = first_refused(config_name, overrides, words), str(error).partition(" : ")[0][:200]
            raise ConfigError(f"{given}: Hydra cannot read it ({reason}); give key=value or group=name") from None
    raise ConfigError(explain(message, config_name, moved))


def first_refused(config_name: str, overrides: Sequence[str], words: Sequence[str]) -> str:
    """The override, as it was given, that Hydra cannot read by itself; all of them where it is no single one."""
    for given, word in zip(overrides, words, strict=True):
        try:
            compose(config_name, overrides=[word])
        except (AssertionError, OSError, TypeError, ValueError):
            return given if len(given) <= 80 else f"{given[:77]}..."
        except HydraException:
            continue
    return " ".join(overrides)[:200]


def explain(message: str, config_name: str, moved: Mapping[str, str]) -> str:
    """Hydra's message, with the nearest known key where it could not find one."""
    unknown = re.search(r"Could not override '([^']+)'", message)
    if not unknown:
        return " ".join(message.split())
    key = unknown.group(1)
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        known = [*keys_of(compose(config_name)), *groups()]
    return unknown_key(key, known, moved)


def groups() -> list[str]:
    return [path.name for path in config_dir().iterdir() if path.is_dir()]


def keys_of(config: DictConfig, path: str = "") -> list[str]:
    """All dotted keys."""
    keys: list[str] = []
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    for key, value in plain.items():
        keys.append(f"{path}{key}")
        if isinstance(value, dict):
            keys += keys_of(OmegaConf.create(value), f"{path}{key}.")
    return keys


def unknown_key(key: str, known: Sequence[str], moved: Mapping[str, str]) -> str:
    if key in moved:
        return f"unknown key {key}; {moved[key]}"
    same_name = [name for name in known if name.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]
    near = same_name or get_close_matches(key, known, n=1)
    return f"unknown key {key}" + (f"; did you mean {near[0]}?" if near else "")


def refuse_unknown(given: DictConfig, schema: type, moved: Mapping[str, str]) -> None:
    """Hydra lets `+key=` and `++key=` past; the schema does not."""
    known = schema_keys(schema)
    unknown = [key for key in keys_of(given) if key not in known and f"{key.rpartition('.')[0]}.*" not in known]
    if unknown:
        deepest = next(key for key in unknown if not any(other.startswith(f"{key}.") for other in unknown))
        raise ConfigError(unknown_key(deepest, known, moved))


def schema_keys(schema: type, path: str = "") -> list[str]:
    """All dotted keys of nested dataclasses; `key.*` where the user names what stands below."""
    keys: list[str] = []
    for item in fields(schema):
        keys.append(f"{path}{item.name}")
        if get_origin(item.type) is dict:
            keys.append(f"{path}{item.name}.*")
        for part in get_args(item.type) or [item.type]:  # what may be null has a union type
            if isinstance(part, type) and is_dataclass(part):
                keys += schema_keys(part, f"{path}{item.name}.")
    return keys


def refuse_missing(config: DictConfig) -> None:
    """Name all values that the user still has to give."""
    if missing := missing_keys(config):
        example = " ".join(f"{key}=..." for key in missing)
        raise ConfigError(f"{len(missing)} value(s) missing; give them on the command line: {example}")


def missing_keys(config: DictConfig) -> list[str]:
    return sorted({key for key, value in leaves(OmegaConf.to_container(config, resolve=False)) if value == "???"})
