"""Llama 2 and 3, SmolLM2, and what else calls itself a Llama."""

from collections.abc import Mapping
from typing import Any

from transformers import LlamaConfig

from nemo_hs2pref.checkpoint.families.family import Family


def refusals(config: Any) -> Mapping[str, bool]:
    rope = (config.rope_scaling or {}).get("rope_type", "default")
    return {
        "attention_bias is true; only Llamas without biases convert": config.attention_bias,
        "mlp_bias is true; only Llamas without biases convert": config.mlp_bias,
        f"hidden_act is {config.hidden_act!r}; only 'silu' converts": config.hidden_act != "silu",
        f"rope_scaling is of type {rope!r}; only 'llama3' and none convert": rope not in ("default", "llama3"),
    }


FAMILY = Family("llama", "Llama 2 and 3, SmolLM2", "Llama", LlamaConfig, refusals)
