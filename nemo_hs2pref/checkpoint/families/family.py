"""What tells one family of decoders from another, of those that are Llamas otherwise.

RMSNorm, rotary embeddings, grouped queries, SwiGLU, no biases but those that a family names. A further family is a
module beside this one and a row of FAMILIES in table.py (docs/contributing.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import PretrainedConfig


@dataclass(frozen=True)
class Family:
    """One family, by transformers' names."""

    model_type: str  # of config.json
    title: str  # models that people know
    prefix: str  # of its classes: <prefix>ForCausalLM
    config_class: type[PretrainedConfig]
    # sentence -> whether it is so: what NeMo's GPT would compute otherwise, or not at all
    refusals: Callable[[Any], Mapping[str, bool]]
    qkv_bias: bool = False  # on queries, keys and values
    has_head_size: bool = True  # its configuration has a key for the size of a head


def head_size(config: Any) -> int:
    """Numbers of a head; not every class of transformers has a key for it."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
