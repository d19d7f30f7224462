"""Sizes that a configuration may claim. Names and shapes of all tensors are made of them before a weight is read, so a
line in a small file must not stand for a million layers. The limits are far above every model that there is.
"""

from collections.abc import Mapping
from typing import Any

from nemo_hs2pref.errors import CheckpointError

LAYERS, WIDTH, HEADS, VOCABULARY, LENGTH = 1_000, 2**20, 2**14, 2**24, 2**31
MOST = {
    **dict.fromkeys(("num_layers", "num_hidden_layers"), LAYERS),
    **dict.fromkeys(("hidden_size", "ffn_hidden_size", "intermediate_size", "kv_channels", "head_dim"), WIDTH),
    **dict.fromkeys(("num_attention_heads", "num_query_groups", "num_key_value_heads"), HEADS),
    **dict.fromkeys(("vocab_size", "override_vocab_size"), VOCABULARY),
    **dict.fromkeys(("max_position_embeddings", "encoder_seq_length", "old_context_len"), LENGTH),
}


def refuse_huge(config: Mapping[str, Any], where: object) -> None:
    """Raise CheckpointError for a size of NeMo's or Hugging Face's configuration that no model has."""
    for key, most in MOST.items():
        size = config.get(key)
        if isinstance(size, int) and not 1 <= size <= most:
            raise CheckpointError(f"{where}: {key} is {size:.6g}; expected 1 to {most:,}")
