"""The sizes of the model, from the configuration or from the checkpoint that a run starts from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.errors import ConfigError

SIZES = ("num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads", "num_query_groups")
LLAMA_IS = {"normalization": "rmsnorm", "activation": "fast-swiglu", "bias": False, "num_moe_experts": None}


@dataclass(frozen=True)
class Architecture:
    """Sizes of a Llama, or of a family that is one otherwise."""

    num_layers: int
    hidden_size: int
    ffn_hidden_size: int  # of gate and of up, each
    num_attention_heads: int
    num_query_groups: int  # key-value heads
    qkv_bias: bool  # on queries, keys and values
    head_size: int
    embedding_rows: int  # the vocabulary with its padding

    @property
    def qkv_size(self) -> int:
        """Rows of the fused projection to queries, keys and values."""
        return (self.num_attention_heads + 2 * self.num_query_groups) * self.head_size

    @property
    def context_size(self) -> int:
        """What attention gives: all heads side by side."""
        return self.num_attention_heads * self.head_size


def architecture_of(config: RunConfig, checkpoint: Mapping[str, Any]) -> Architecture:
    """Raises ConfigError where a size is neither in the configuration nor in the checkpoint, or it is no Llama."""
    for key, expected in LLAMA_IS.items():
        if checkpoint.get(key, expected) != expected:
            raise ConfigError(f"the checkpoint has {key}={checkpoint[key]}; only Llamas are counted: {expected}")
    sizes = {key: size_of(config, checkpoint, key) for key in (*SIZES, "override_vocab_size")}
    unknown = [f"model.{key}" for key, size in sizes.items() if size is None]
    if unknown:
        raise ConfigError(
            f"{', '.join(unknown)}: null, and no checkpoint at {config.pretrained_checkpoint.restore_from_path}; "
            "give pretrained_checkpoint.restore_from_path or the size"
        )
    known = {key: size for key, size in sizes.items() if size is not None}
    rows = known.pop("override_vocab_size")
    bias = checkpoint.get("qkv_bias", False) if checkpoint else bool(config.model.qkv_bias)
    head_size = checkpoint.get("kv_channels") or known["hidden_size"] // known["num_attention_heads"]
    return Architecture(**known, qkv_bias=bias, head_size=head_size, embedding_rows=rows)


def size_of(config: RunConfig, checkpoint: Mapping[str, Any], key: str) -> int | None:
    """The checkpoint's size, else the configuration's; None where neither has one."""
    if key == "override_vocab_size" and "vocab_size" in checkpoint:
        return embedding_rows(checkpoint)
    return checkpoint.get(key) or getattr(config.model, key)


def embedding_rows(checkpoint: Mapping[str, Any]) -> int:
    """Rows of the stored embedding, in every layout.

    NeMo pads to a multiple of 128 x tensor parallel: Llama 3's 128,256 rows would become 129,024 at 8, and the
    checkpoint would fit the layout that wrote it alone.
    """
    multiple = checkpoint.get("make_vocab_size_divisible_by", 128)
    return checkpoint.get("override_vocab_size") or -(-checkpoint["vocab_size"] // multiple) * multiple
