"""Megatron-Core's GPTModel with a reward head in the place of the vocabulary output layer."""

import torch
from megatron.core.models.gpt import GPTModel
from megatron.core.transformer.spec_utils import build_module
from torch import Tensor

from nemo_hs2pref.data.batches.tokens import MicroBatch, TokenBatch
from nemo_hs2pref.models.megatron.packing import packed_places
from nemo_hs2pref.models.reward.head import RewardHead


class LastTokens(torch.nn.Module):
    """[S, B, H] hidden states to [1, B, H], those of the last token of each response."""

    def __init__(self) -> None:
        super().__init__()
        self.places: tuple[Tensor, Tensor] | None = None  # of the next forward pass, see last_tokens

    def forward(self, hidden_SBH: Tensor) -> Tensor:
        assert self.places is not None
        return hidden_SBH[self.places].unsqueeze(0)


def last_tokens(batch: TokenBatch) -> tuple[Tensor, Tensor]:
    """([B], [B]) int64: position in the sequence and row of `ids` of each response's last token."""
    if batch.is_packed:
        return batch.lengths.cumsum(0) - 1, torch.zeros_like(batch.lengths)
    return batch.lengths - 1, torch.arange(len(batch.lengths), device=batch.lengths.device)


class GPTRewardModel(GPTModel):
    """Maps a micro batch to attributes [B, K] on the last pipeline stage, to hidden states elsewhere.

    Aligner's class builds the vocabulary output layer (1.05e9 parameters at 70B), keeps it in the optimiser and
    hides it during forward. Here GPTModel is told that no stage ends in an output layer, and the last stage gets
    its final norm and the head. Checked with megatron-core 0.11.
    """

    def __init__(
        self,
        *args: object,
        post_process: bool,
        num_attributes: int,
        head_bias: bool,
        head_seed: int,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, post_process=False, share_embeddings_and_output_weights=False, **kwargs)  # pyright: ignore
        self.rm_head: RewardHead | None = None
        if post_process:
            self.decoder.post_process = True
            self.decoder.final_layernorm = build_module(
                self.decoder.submodules.layer_norm,
                config=self.config,
                hidden_size=self.config.hidden_size,
                eps=self.config.layernorm_epsilon,
            )
            self.rm_head = RewardHead(
                self.config.hidden_size,
                num_attributes,
                bias=head_bias,
                seed=head_seed,
                sequence_parallel=self.config.sequence_parallel,
            )
        self.last_tokens = self._drop_unread_tokens() if post_process else None

    def _drop_unread_tokens(self) -> LastTokens | None:
        """Let the last layer compute its MLP for the last tokens alone: nothing reads the others.

        The module stands where a decoder with cross attention has a norm, between attention and MLP. Not under
        sequence parallelism, where a rank holds a slice of the sequence, and not with full recomputation, which
        would run it again when the places are already those of another micro batch.
        """
        if self.config.sequence_parallel or self.config.recompute_granularity == "full":
            return None
        self.decoder.layers[-1].pre_cross_attn_layernorm = LastTokens()
        return self.decoder.layers[-1].pre_cross_attn_layernorm

    def forward(self, micro_batch: MicroBatch) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Causal attention, and padding on the right or none: no mask and no position ids are needed."""
        batch = micro_batch.tokens
        position_B, row_B = last_tokens(batch)
        if self.last_tokens is not None:
            self.last_tokens.places = position_B, row_B
            position_B, row_B = torch.zeros_like(position_B), torch.arange(len(row_B), device=row_B.device)
        places = packed_places(batch, on_host=not self.config.apply_rope_fusion)
        hidden = super().forward(batch.ids, position_ids=None, attention_mask=None, packed_seq_params=places)  # pyright: ignore[reportCallIssue]
        return hidden if self.rm_head is None else self.rm_head(hidden, position_B, row_B)
