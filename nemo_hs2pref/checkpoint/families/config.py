"""model_config.yaml: what NeMo 2.2 calls the configuration of a Megatron GPT model, for a family; both ways."""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PretrainedConfig

from nemo_hs2pref.checkpoint.families.family import head_size
from nemo_hs2pref.checkpoint.families.fused import VOCAB_MULTIPLE, padded_vocabulary
from nemo_hs2pref.checkpoint.families.table import family_of, stored_family
from nemo_hs2pref.checkpoint.layout import QKV_BIAS
from nemo_hs2pref.errors import CheckpointError

PRECISION = {torch.float32: 32, torch.bfloat16: "bf16"}  # what NeMo calls the dtypes that we write
ORIGIN = "hugging_face"  # our key in model_config.yaml: what Hugging Face's files say and NeMo has no key for
KEPT = ("max_position_embeddings", "bos_token_id", "eos_token_id", "pad_token_id")  # of config.json, under ORIGIN
LLAMA_IS = {  # NeMo's key -> what a Llama has, what NeMo takes where there is no key
    "normalization": ("rmsnorm", "layernorm"),
    "activation": ("fast-swiglu", "gelu"),
    "position_embedding_type": ("rope", "learned_absolute"),
    "rotary_percentage": (1.0, 1.0),
    "bias": (False, True),
    "seq_len_interpolation_factor": (None, None),
    "apply_embedding_scaling": (False, False),
    "num_moe_experts": (None, None),
}

SIZES = (
    *("vocab_size", "hidden_size", "ffn_hidden_size", "num_layers", "num_attention_heads", "layernorm_epsilon"),
    "max_position_embeddings",
)


def model_config(config: PretrainedConfig, *, num_layers: int, dtype: torch.dtype, tokenizer: str) -> dict[str, Any]:
    """NeMo's architecture keys for a Llama of `num_layers` layers.

    tokenizer: folder with the tokenizer, relative to the checkpoint; the loader makes it absolute.

    vocab_size is the vocabulary before padding, which NeMo does not read. Left to itself NeMo pads the number of
    tokens to a multiple of 128 x TP: the embedding's shape then depends on the layout, and newer torch refuses to
    load it into another one. override_vocab_size fixes the shape for all layouts whose TP divides it.
    """
    return {
        "mcore_gpt": True,
        "num_layers": num_layers,
        "hidden_size": config.hidden_size,
        "ffn_hidden_size": config.intermediate_size,
        "num_attention_heads": config.num_attention_heads,
        "num_query_groups": config.num_key_value_heads,
        "kv_channels": head_size(config),
        "encoder_seq_length": config.max_position_embeddings,
        "max_position_embeddings": config.max_position_embeddings,
        "normalization": "rmsnorm",
        "layernorm_epsilon": config.rms_norm_eps,
        "activation": "fast-swiglu",
        "bias": False,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "ffn_dropout": 0.0,
        "init_method_std": config.initializer_range,
        "share_embeddings_and_output_weights": config.tie_word_embeddings,
        "vocab_size": config.vocab_size,
        "override_vocab_size": padded_vocabulary(config.vocab_size),
        "make_vocab_size_divisible_by": VOCAB_MULTIPLE,
        "tokenizer": {"library": "huggingface", "type": tokenizer, "use_fast": True},
        "precision": PRECISION[dtype],
        **({QKV_BIAS: True} if family_of(config).qkv_bias else {}),
        **rotary_config(config),
    }


def rotary_config(config: PretrainedConfig) -> dict[str, Any]:
    """Rotary embedding: NeMo scales frequencies as Llama 3.1 does when `scale_positional_embedding` is set.

    It does so in mcore_model_customize, which reward models of NeMo-Aligner 0.7.0 never call.
    """
    keys = {
        "position_embedding_type": "rope",
        "rotary_percentage": 1.0,
        "rotary_base": config.rope_theta,
        "seq_len_interpolation_factor": None,
    }
    if not config.rope_scaling or config.rope_scaling["rope_type"] == "default":
        return keys
    scaling = config.rope_scaling
    return keys | {
        "scale_positional_embedding": True,
        "scale_factor": scaling["factor"],
        "low_freq_factor": scaling["low_freq_factor"],
        "high_freq_factor": scaling["high_freq_factor"],
        "old_context_len": scaling["original_max_position_embeddings"],
    }


def origin_config(config: PretrainedConfig, generation_config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The value of ORIGIN, which training hands on as it is; a run replaces NeMo's max_position_embeddings."""
    kept = {"config": {key: getattr(config, key) for key in KEPT}}
    return kept | ({"generation_config": dict(generation_config)} if generation_config else {})


def hugging_face_config(config: Mapping[str, Any], where: str) -> PretrainedConfig:
    """The inverse of model_config. Raises CheckpointError for a model of no family that is known."""
    for key, (value, default) in LLAMA_IS.items():
        if (found := config.get(key, default)) != value:
            raise CheckpointError(f"{where}: {key} is {found!r} in model_config.yaml; only Llamas convert: {value!r}")
    if missing := [key for key in SIZES if config.get(key) is None]:
        raise CheckpointError(f"{where}: {missing[0]} is missing in model_config.yaml; copy the checkpoint again")
    heads = config["num_attention_heads"]
    sizes = {
        "vocab_size": config["vocab_size"],
        "hidden_size": config["hidden_size"],
        "intermediate_size": config["ffn_hidden_size"],
        "num_hidden_layers": config["num_layers"],
        "num_attention_heads": heads,
        "num_key_value_heads": config.get("num_query_groups") or heads,
        "rms_norm_eps": config["layernorm_epsilon"],
        "initializer_range": config.get("init_method_std", 0.02),
        "tie_word_embeddings": config.get("share_embeddings_and_output_weights", True),
        "rope_theta": float(config.get("rotary_base", 10_000)),
        "rope_scaling": rope_scaling(config),
    }
    length = {"max_position_embeddings": config["max_position_embeddings"]}
    origin = config.get(ORIGIN, {}).get("config", {})
    family, size = stored_family(config), config.get("kv_channels") or config["hidden_size"] // heads
    if family.has_head_size:
        sizes["head_dim"] = size
    elif size * heads != config["hidden_size"]:
        raise CheckpointError(f"{where}: kv_channels is {size}; heads of {family.title} have hidden_size / heads")
    return family.config_class(**(length | {key: origin[key] for key in KEPT if key in origin} | sizes))


def rope_scaling(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The inverse of rotary_config; figures that are missing are those of NeMo's mcore_model_customize."""
    if not config.get("scale_positional_embedding"):
        return None
    return {
        "rope_type": "llama3",
        "factor": float(config.get("scale_factor", 8)),
        "low_freq_factor": float(config.get("low_freq_factor", 1)),
        "high_freq_factor": float(config.get("high_freq_factor", 4)),
        "original_max_position_embeddings": config.get("old_context_len", 8192),
    }
