"""Rotary embeddings in config.json: transformers 5 writes `rope_parameters`, 4 `rope_theta` and `rope_scaling`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nemo_hs2pref.checkpoint.hugging_face.folder.values import is_number
from nemo_hs2pref.errors import CheckpointError

PARAMETERS, THETA, SCALING, PARTIAL = "rope_parameters", "rope_theta", "rope_scaling", "partial_rotary_factor"
NUMBERS = {  # type -> the figures that it has; of any other type, versions of transformers compute different things
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}


def as_version_4(config: Mapping[str, Any], where: Path, *, is_llama: bool) -> dict[str, Any]:
    """The configuration with `rope_theta` and `rope_scaling`; raises CheckpointError for what those cannot say.

    Of other architectures than Llama's the keys of version 4 stay as they are: transformers' own class reads them.
    """
    rest = {key: value for key, value in config.items() if key != PARAMETERS}
    given = config.get(PARAMETERS)
    if given is None:
        return rest | ({SCALING: scaling_of(rest[SCALING], SCALING, where)} if is_llama and SCALING in rest else {})
    if not isinstance(given, dict):
        raise CheckpointError(f"{where}: {PARAMETERS} is {given!r}; expected an object, as transformers 5 writes it")
    if layers := [key for key, value in given.items() if isinstance(value, dict)]:  # pyright: ignore[reportUnknownVariableType] JSON
        raise CheckpointError(
            f"{where}: {PARAMETERS} differ by layer ({', '.join(layers)}), which transformers 4 does not compute; "  # pyright: ignore[reportUnknownArgumentType]
            "only one kind of rotary embedding for all layers is read"
        )
    parameters: dict[str, Any] = dict(given)  # pyright: ignore[reportUnknownArgumentType] JSON
    named = {key: parameters.pop(key) for key in (THETA, PARTIAL) if key in parameters}
    translated = named | {SCALING: scaling_of(parameters, PARAMETERS, where)}
    for key, value in translated.items():
        old = scaling_of(rest[SCALING], SCALING, where) if key == SCALING and SCALING in rest else rest.get(key)
        if key in rest and old not in (None, value):
            raise CheckpointError(f"{where}: {key} is {rest[key]} and {PARAMETERS} say {value}; keep the right one")
    return rest | translated


def scaling_of(given: Any, key: str, where: Path) -> dict[str, Any] | None:
    """A section `rope_scaling` that says one known type by its one name; None: no scaling."""
    if given is None:
        return None
    if not isinstance(given, dict):
        raise CheckpointError(f"{where}: {key} is {given!r}; expected an object with rope_type, or null")
    section: dict[str, Any] = dict(given)  # pyright: ignore[reportUnknownArgumentType] JSON
    named = [section.pop(name) for name in ("type", "rope_type") if name in section]
    kinds = {kind if isinstance(kind, str) else repr(kind) for kind in named} or {"default"}
    kind = next(iter(kinds))
    if len(kinds) > 1 or kind not in NUMBERS:
        raise CheckpointError(
            f"{where}: {key} has the type {' and '.join(map(str, sorted(kinds, key=str)))}; only "
            f"{', '.join(NUMBERS)} are read"
        )
    if kind == "default" and section.get("factor") in (1, None):
        section.pop("factor", None)  # which changes nothing
    if strange := sorted(section.keys() - set(NUMBERS[kind])):
        raise CheckpointError(f"{where}: {key} has {strange[0]}={section[strange[0]]!r}, not known of type {kind}")
    for name in NUMBERS[kind]:
        value = section.get(name)
        if value is None or not is_number(value) or value <= 0:
            raise CheckpointError(f"{where}: {key}: {name} is {value!r}; type {kind} needs a positive number")
    return {"rope_type": kind, **section} if kind != "default" else None
