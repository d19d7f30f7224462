"""Causal attention for machines without Transformer Engine's fused kernel."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


class SdpaAttention(torch.nn.Module):
    """Causal attention by torch's scaled_dot_product_attention: no mask is made, and its fused kernels store no scores.

    Replaces Megatron-Core's DotProductAttention, with the same constructor and call, and Transformer Engine's for
    packed rows: there S is T, the tokens of all rows, B is left out, and no row sees another.
    """

    def __init__(self, config: Any, layer_number: int, attn_mask_type: Any, attention_type: str, **_: object) -> None:
        super().__init__()
        assert attention_type == "self" and attn_mask_type.name == "causal", (attention_type, attn_mask_type)
        assert config.attention_dropout == 0.0 and not config.apply_query_key_layer_scaling

    def forward(
        self,
        query: Tensor,  # [S, B, heads/TP, head_dim]; packed: [T, heads/TP, head_dim]
        key: Tensor,  # [S, B, groups/TP, head_dim]
        value: Tensor,
        attention_mask: None,
        attn_mask_type: Any = None,
        attention_bias: None = None,
        packed_seq_params: Any = None,  # megatron.core's PackedSeqParams
    ) -> Tensor:
        """[S, B, heads/TP * head_dim]; packed: [T, heads/TP * head_dim]."""
        assert attention_mask is None and attention_bias is None
        if packed_seq_params is None:
            return causal_attention(query, key, value)
        assert packed_seq_params.qkv_format == "thd" and packed_seq_params.cu_seqlens_q_padded is None
        lengths = packed_seq_params.cu_seqlens_q.diff().tolist()  # on the host, see packed_places
        rows = zip(*(tensor.unsqueeze(1).split(lengths) for tensor in (query, key, value)), strict=True)
        return torch.cat([causal_attention(*row) for row in rows]).squeeze(1)


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """[S, B, heads, head_dim] queries over [S, B, groups, head_dim] to [S, B, heads * head_dim]."""
    query, key, value = (tensor.permute(1, 2, 0, 3) for tensor in (query, key, value))  # [B, heads, S, head_dim]
    context = scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    return context.permute(2, 0, 1, 3).flatten(2)
