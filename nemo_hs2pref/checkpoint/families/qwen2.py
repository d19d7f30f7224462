"""Qwen2 and Qwen2.5: biases on queries, keys and values."""

from collections.abc import Mapping
from typing import Any

from transformers import Qwen2Config

from nemo_hs2pref.checkpoint.families.family import Family


def refusals(config: Any) -> Mapping[str, bool]:
    rope = (config.rope_scaling or {}).get("rope_type", "default")
    return {
        f"hidden_act is {config.hidden_act!r}; only 'silu' converts": config.hidden_act != "silu",
        f"rope_scaling is of type {rope!r}; of Qwen2 only none converts": rope != "default",
        "use_sliding_window is true, which NeMo's GPT does not compute": config.use_sliding_window,
    }


FAMILY = Family("qwen2", "Qwen2 and Qwen2.5", "Qwen2", Qwen2Config, refusals, qkv_bias=True, has_head_size=False)
