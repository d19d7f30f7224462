"""A NeMo 2.0 checkpoint's configuration as NeMo 1.x's model_config.yaml.

context/   model.yaml, the model's arguments as text with all defaults; io.json and the rest are not read: they say
           which functions to call
weights/   torch_dist; every name starts with `module.` where NeMo 1.x has `model.`
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from nemo_hs2pref.checkpoint.layout import QKV_BIAS, read_yaml
from nemo_hs2pref.decode import from_plain
from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.yaml_files import refuse_interpolations

CONTEXT, MODEL, WEIGHTS = "context", "model.yaml", "weights"
PREFIX = "module."
SAME = (
    *("num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads", "num_query_groups", "kv_channels"),
    *("layernorm_epsilon", "init_method_std", "share_embeddings_and_output_weights", "make_vocab_size_divisible_by"),
    *("position_embedding_type", "rotary_base", "seq_len_interpolation_factor"),
)
LLAMA_IS = {  # megatron-core's and NeMo 2's key -> what a Llama has
    "normalization": "RMSNorm",
    "gated_linear_unit": True,
    "position_embedding_type": "rope",
    "add_bias_linear": False,
    "qk_layernorm": False,
    "layernorm_zero_centered_gamma": False,
    "num_moe_experts": None,
    "multi_latent_attention": False,
    "window_size": None,
}
SCALING = ("scale_factor", "low_freq_factor", "high_freq_factor", "old_context_len")  # of NeMo 2's Llama31Config


class Function(TypedDict):
    """A function by its name."""

    _target_: str


class Model(TypedDict):
    """`config`."""

    rotary_percent: float
    seq_length: int
    activation_func: Function


class Name(TypedDict):
    """A name that is no path."""

    attr: str


class Tokenizer(TypedDict, total=False):
    """`tokenizer`."""

    _target_: str
    pretrained_model_name: str | Name
    model_path: str | None


class Described(TypedDict):
    """model.yaml, as far as it is read."""

    config: Model
    tokenizer: Tokenizer


def is_nemo2(folder: Path) -> bool:
    return (folder / CONTEXT).is_dir() and (folder / WEIGHTS).is_dir()


def nemo1_config(folder: Path) -> dict[str, Any]:
    """NeMo 1.x's keys, tokenizer included. Raises CheckpointError where there is no model.yaml, or for no Llama."""
    file = folder / CONTEXT / MODEL
    if not file.is_file():
        raise CheckpointError(f"{file}: not found; save the checkpoint again with a NeMo 2 that writes it, as 2.2 does")
    content = read_yaml(file)
    refuse_interpolations(content, str(file), CheckpointError)
    from_plain(Described, content, file, CheckpointError)
    model, tokenizer = content["config"], content["tokenizer"]
    for key, value in LLAMA_IS.items():
        if (found := model.get(key, value)) != value:
            raise CheckpointError(f"{file}: {key} is {found!r}; only Llamas are read: {value!r}")
    activation = model["activation_func"]["_target_"]
    if not activation.endswith(".silu"):
        raise CheckpointError(f"{file}: activation_func is {activation}; only Llamas are read: silu")
    return {
        "mcore_gpt": True,
        **{key: model[key] for key in SAME if key in model},
        "rotary_percentage": model["rotary_percent"],
        "encoder_seq_length": model["seq_length"],
        "max_position_embeddings": model["seq_length"],
        "normalization": "rmsnorm",
        "activation": "fast-swiglu",
        "bias": False,
        **({QKV_BIAS: True} if model.get("add_qkv_bias") else {}),
        "tokenizer": nemo1_tokenizer(tokenizer),
        **rope_scaling(model),
    }


def rope_scaling(model: Mapping[str, Any]) -> dict[str, Any]:
    """Llama 3.1's, which NeMo 2 always applies in the classes that have the factors."""
    factors = {key: model[key] for key in SCALING if key in model}
    return {"scale_positional_embedding": True, **factors} if factors else {}


def nemo1_tokenizer(tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """The name of a Hugging Face tokenizer, on the hub or under context/, or what else it is."""
    kind = str(tokenizer.get("_target_", "")).rpartition(".")[2]
    if kind != "AutoTokenizer":
        return {"library": kind, "model": tokenizer.get("model_path")}
    name = tokenizer.get("pretrained_model_name")
    # a name that is no path is wrapped
    return {"library": "huggingface", "type": name["attr"] if isinstance(name, Mapping) else name}
