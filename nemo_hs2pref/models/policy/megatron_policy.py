"""A policy on NeMo's GPT model, with the Megatron parts that no algorithm owns."""

from megatron.core.models.gpt import GPTModel
from nemo.collections.nlp.models.language_modeling import megatron_gpt_model
from nemo.collections.nlp.models.language_modeling.megatron_gpt_model import MegatronGPTModel

from nemo_hs2pref.models.megatron.schedule import MegatronParts


class MegatronPolicy(MegatronParts, MegatronGPTModel):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A language model whose output layer is cut over the tensor-parallel ranks."""

    trained_with_adapters = ()

    def model_provider_func(self, pre_process: bool, post_process: bool) -> GPTModel:
        """As the parent, of variable lengths and with the model's own RoPE scaling."""
        model = GPTModel(
            config=self.transformer_config,
            transformer_layer_spec=megatron_gpt_model.get_specs(
                self.spec_name, self.transformer_config, self.transformer_engine
            ),
            vocab_size=self.cfg.override_vocab_size,
            max_sequence_length=self.cfg.encoder_seq_length,
            pre_process=pre_process,
            post_process=post_process,
            parallel_output=True,
            share_embeddings_and_output_weights=self.cfg.share_embeddings_and_output_weights,
            position_embedding_type=self.cfg.position_embedding_type,
            rotary_percent=self.cfg.rotary_percentage,
            rotary_base=self.cfg.rotary_base,
            seq_len_interpolation_factor=self.cfg.seq_len_interpolation_factor,
        )
        megatron_gpt_model.mcore_model_customize(self.cfg, model)
        return model
