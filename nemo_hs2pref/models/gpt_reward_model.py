"""Megatron-Core's GPTModel with a reward head in the place of the vocabulary output layer."""

import torch
from megatron.core.models.gpt import GPTModel
from megatron.core.transformer.spec_utils import build_module
from torch import Tensor

from nemo_hs2pref.models.head import RewardHead


class LastTokens(torch.nn.Module):
    """[S, B, H] hidden states to [1, B, H], those of the last token of each row."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: Tensor | None = None  # [B], of the rows of the next forward pass

    def forward(self, hidden_SBH: Tensor) -> Tensor:
        assert self.lengths is not None
        rows_B = torch.arange(hidden_SBH.size(1), device=hidden_SBH.device)
        return hidden_SBH[self.lengths - 1, rows_B].unsqueeze(0)


class GPTRewardModel(GPTModel):
    """Tokens [B, S] and lengths [B] to attributes [B, K] on the last pipeline stage, hidden states elsewhere.

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
        would run it again after the lengths of another micro batch.
        """
        if self.config.sequence_parallel or self.config.recompute_granularity == "full":
            return None
        self.decoder.layers[-1].pre_cross_attn_layernorm = LastTokens()
        return self.decoder.layers[-1].pre_cross_attn_layernorm

    def forward(self, input_ids: Tensor, lengths: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Causal attention and right padding: no mask and no position ids are needed."""
        if self.last_tokens is not None:
            self.last_tokens.lengths = lengths
        hidden = super().forward(input_ids=input_ids, position_ids=None, attention_mask=None)  # pyright: ignore
        if self.rm_head is None:
            return hidden
        return self.rm_head(hidden, lengths if self.last_tokens is None else torch.ones_like(lengths))
