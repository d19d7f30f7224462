"""Values of config.json have the types that their keys ask for; transformers takes any, and fails later."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from math import isfinite
from typing import Any

from nemo_hs2pref.checkpoint.layout import HF_KEY
from nemo_hs2pref.errors import CheckpointError

LARGEST = 1e15  # beyond any base, factor or weight
DTYPES = ("float32", "bfloat16", "float16", "float64")


def is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def is_number(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value) and abs(value) < LARGEST


def is_token(value: Any) -> bool:
    return type(value) is int


def are_tokens(value: Any) -> bool:
    return is_token(value) or (isinstance(value, list) and all(type(each) is int for each in value))  # pyright: ignore[reportUnknownVariableType] JSON


def are_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)  # pyright: ignore[reportUnknownVariableType] JSON


def are_numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(is_number, value))  # pyright: ignore[reportUnknownArgumentType] JSON


def are_labels(value: Any) -> bool:
    """{"0": name, "1": name, ...}"""
    if not isinstance(value, dict) or not value:
        return False
    names: Mapping[Any, Any] = value  # pyright: ignore[reportUnknownVariableType] JSON
    numbers = [int(key) for key in names if str(key).isdecimal()]
    return sorted(numbers) == list(range(len(names))) and all(isinstance(name, str) for name in names.values())


Check = tuple[Callable[[Any], bool], str]
ANY_MODEL: dict[str, Check] = {
    "model_type": (lambda value: isinstance(value, str), "the name of an architecture"),
    "architectures": (are_names, "a list of class names"),
    "num_labels": (is_count, "a whole number above 0"),
    "id2label": (are_labels, "names by the numbers from 0 on"),
    "torch_dtype": (lambda value: value in DTYPES, f"one of {', '.join(DTYPES)}"),
    HF_KEY: (lambda value: isinstance(value, dict), "an object"),
}
LLAMA: dict[str, Check] = {
    **dict.fromkeys(
        (
            *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
            *("num_key_value_heads", "head_dim", "max_position_embeddings"),
        ),
        (is_count, "a whole number above 0"),
    ),
    **dict.fromkeys(("rms_norm_eps", "rope_theta"), (lambda value: is_number(value) and value > 0, "a number above 0")),
    **dict.fromkeys(
        ("tie_word_embeddings", "attention_bias", "mlp_bias"), (lambda value: type(value) is bool, "true or false")
    ),
    **dict.fromkeys(("bos_token_id", "pad_token_id"), (is_token, "a token's number")),
    "eos_token_id": (are_tokens, "a token's number, or several"),
    "pruned_heads": (lambda value: not value, "none"),
    "hidden_act": (lambda value: isinstance(value, str), "the name of a function"),
}
NEVER_NULL = frozenset(
    LLAMA.keys() - {"num_key_value_heads", "head_dim", "bos_token_id", "eos_token_id", "pad_token_id"}
)
OURS: dict[str, Check] = {
    "layout": (lambda value: isinstance(value, str), "the name of a layout"),
    "template": (lambda value: isinstance(value, str), "the name of a template"),
    "attributes": (are_names, "a list of names"),
    "reward_weights": (are_numbers, "a list of numbers"),
    "dropped_bias": (are_numbers, "a list of numbers"),
    "standardization": (lambda value: isinstance(value, dict), "an object"),
}


OURS_TOLD = frozenset({"tool_version", "exported", "extrapolated", "averaged", "merged", "converted"})


def refuse_unknown_ours(ours: Mapping[str, Any], where: str) -> None:
    """People write our key by hand too, and a misspelt name there would be another template or reward."""
    for key in ours:
        if key not in OURS.keys() | OURS_TOLD:
            near = get_close_matches(key, OURS, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; the keys are {', '.join(OURS)}"
            raise CheckpointError(f'{where}: the key {key!r} under "{HF_KEY}" is not known{hint}')


def refuse_wrong_values(
    config: Mapping[str, Any], checks: Mapping[str, Check], where: str, never_null: frozenset[str] = frozenset()
) -> None:
    """A key that is not there is transformers' to fill in, and so is one that is null, but for `never_null`."""
    for key, (is_right, expected) in checks.items():
        value = config.get(key)
        may_be = value is None and not (key in config and key in never_null)
        if not may_be and not is_right(value):
            raise CheckpointError(f"{where}: {key} is {str(value)!r:.60}; expected {expected}")


def refuse_indivisible(config: Mapping[str, Any], where: str) -> None:
    """The heads of a Llama."""
    heads, groups = config.get("num_attention_heads"), config.get("num_key_value_heads")
    if heads and groups and heads % groups:
        raise CheckpointError(f"{where}: num_attention_heads is {heads}, no multiple of num_key_value_heads {groups}")
    hidden = config.get("hidden_size")
    if heads and hidden and not config.get("head_dim") and hidden % heads:
        raise CheckpointError(f"{where}: hidden_size is {hidden}, no multiple of num_attention_heads {heads}")
