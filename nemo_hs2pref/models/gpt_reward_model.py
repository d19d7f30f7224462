"""Megatron-Core's GPTModel with a reward head in the place of the vocabulary output layer."""

from megatron.core.models.gpt import GPTModel
from megatron.core.transformer.spec_utils import build_module
from torch import Tensor

from nemo_hs2pref.models.head import RewardHead


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

    def forward(self, input_ids: Tensor, lengths: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Causal attention and right padding: no mask and no position ids are needed."""
        hidden = super().forward(input_ids=input_ids, position_ids=None, attention_mask=None)  # pyright: ignore
        return hidden if self.rm_head is None else self.rm_head(hidden, lengths)
