"""NeMo-Aligner's reward model class, without the faults of its reward-model recipe.

Upstream behaviour that is replaced (Aligner 0.7.0), besides what models/megatron/schedule.py replaces:
    model_provider_func      drops the model's RoPE scaling, builds a vocabulary layer, bfloat16 head
    get_loss_and_metrics     loss chosen by a key that the YAML does not set, one pair a micro batch
"""

from nemo.collections.nlp.models.language_modeling import megatron_gpt_model
from nemo_aligner.models.nlp.gpt.megatron_gpt_reward_model import MegatronGPTRewardModel

from nemo_hs2pref.models.megatron.schedule import MegatronParts
from nemo_hs2pref.models.reward.gpt_reward_model import GPTRewardModel


class MegatronRewardModel(MegatronParts, MegatronGPTRewardModel):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A reward model of K attributes; the last stage gives [B, K]."""

    trained_with_adapters = ("rm_head",)  # what is trained besides LoRA's adapters

    def model_provider_func(self, pre_process: bool, post_process: bool) -> GPTRewardModel:
        """Parent: forgets mcore_model_customize, so Llama-3.1's RoPE scaling is lost."""
        model = GPTRewardModel(
            config=self.transformer_config,
            transformer_layer_spec=megatron_gpt_model.get_specs(
                self.spec_name, self.transformer_config, self.transformer_engine
            ),
            vocab_size=self.cfg.override_vocab_size,
            max_sequence_length=self.cfg.encoder_seq_length,
            pre_process=pre_process,
            post_process=post_process,
            position_embedding_type=self.cfg.position_embedding_type,
            rotary_percent=self.cfg.rotary_percentage,
            rotary_base=self.cfg.rotary_base,
            seq_len_interpolation_factor=self.cfg.seq_len_interpolation_factor,
            num_attributes=len(self.cfg.head.attributes),
            head_bias=self.cfg.head.bias,
            head_seed=self.cfg.seed,
        )
        megatron_gpt_model.mcore_model_customize(self.cfg, model)
        return model

    @property
    def slots(self) -> list[str]:
        """[K] names of the head's outputs."""
        return list(self.cfg.head.attributes)
