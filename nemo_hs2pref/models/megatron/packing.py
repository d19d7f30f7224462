"""Where the rows of a packed micro batch are, for attention and RoPE."""

import torch
from megatron.core.packed_seq_params import PackedSeqParams

from nemo_hs2pref.data.batches.tokens import TokenBatch


def packed_places(batch: TokenBatch, *, on_host: bool) -> PackedSeqParams | None:
    """Where each packed row begins; tokens that rounding added belong to the last row. None for padded rows.

    Fused kernels read the places on the device. Without them Megatron-Core's RoPE (0.11) and SdpaAttention ask for
    the numbers in every layer, and again under recomputation: on the device, the host would wait for it each time.
    """
    if not batch.is_packed:
        return None
    total = batch.ids.size(1)
    lengths = torch.tensor(batch.row_lengths) if on_host else batch.lengths
    ends = torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).int()
    ends[-1] = total
    return PackedSeqParams(
        qkv_format="thd", cu_seqlens_q=ends, cu_seqlens_kv=ends, max_seqlen_q=total, max_seqlen_kv=total
    )
