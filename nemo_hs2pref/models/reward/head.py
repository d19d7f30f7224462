"""The reward head: one fp32 linear layer on the hidden state of the last token.

Shapes: B rows, S tokens, H hidden size, K attributes, T tensor-parallel ranks.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

INIT_STD = 0.02  # Megatron's default init_method_std


class RewardHead(torch.nn.Module):
    """[S, B, H] hidden states and the places of the last tokens to [B, K] attributes, in float32.

    K*H numbers are replicated on every tensor-parallel rank: Aligner shards them over H, which costs a
    collective and breaks under sequence parallelism. They stay float32 when the model around them is cast to
    bfloat16. The initial values depend on the seed alone, so they are the same in every layout.
    Source: HelpSteer2-Preference section 4; Aligner 0.7.0 `RewardModelHead`.
    """

    def __init__(
        self, hidden_size: int, num_attributes: int, *, bias: bool, seed: int, sequence_parallel: bool
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = torch.nn.Parameter(torch.randn(num_attributes, hidden_size, generator=generator) * INIT_STD)
        self.bias = torch.nn.Parameter(torch.zeros(num_attributes)) if bias else None
        self.sequence_parallel = sequence_parallel

    def forward(self, hidden_SBH: Tensor, position_B: Tensor, row_B: Tensor) -> Tensor:
        """`position_B` and `row_B`: where in S and B the last token of each response stands, see last_tokens."""
        last_BH = self._last_token(hidden_SBH, position_B, row_B)
        with torch.autocast(last_BH.device.type, enabled=False):
            return F.linear(last_BH.float(), self.weight, self.bias)

    def _last_token(self, hidden_SBH: Tensor, position_B: Tensor, row_B: Tensor) -> Tensor:
        """[B, H]; under sequence parallelism each rank holds S/T of the positions."""
        if not self.sequence_parallel:
            return hidden_SBH[position_B, row_B]

        from megatron.core import parallel_state  # pure torch without sequence parallelism
        from megatron.core.tensor_parallel import reduce_from_tensor_model_parallel_region

        local_B = position_B - parallel_state.get_tensor_model_parallel_rank() * hidden_SBH.size(0)
        mine_B = (local_B >= 0) & (local_B < hidden_SBH.size(0))
        last_BH = hidden_SBH[local_B.clamp(0, hidden_SBH.size(0) - 1), row_B] * mine_B.unsqueeze(1)
        return reduce_from_tensor_model_parallel_region(last_BH)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "RewardHead":
        """Follow a move to another device, refuse a cast: megatron_amp_O2 calls bfloat16() on the whole model."""
        return super()._apply(lambda tensor: tensor.to(fn(tensor.new_empty(0)).device), recurse)

    def sharded_state_dict(
        self, prefix: str = "", sharded_offsets: tuple[Any, ...] = (), metadata: Any = None
    ) -> dict[str, Any]:
        """Megatron-Core's hook; a replicated tensor [K, H], which Aligner's row-parallel shards read and write too."""
        from megatron.core.transformer.utils import make_sharded_tensors_for_checkpoint

        return make_sharded_tensors_for_checkpoint(
            self.state_dict(prefix="", keep_vars=True), prefix, {}, sharded_offsets
        )
