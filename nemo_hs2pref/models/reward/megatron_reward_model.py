"""NeMo-Aligner's reward model class, without the faults of its reward-model recipe.

Upstream behaviour that is replaced (Aligner 0.7.0, megatron-core 0.11), each in the function named:
    model_provider_func      drops the model's RoPE scaling, builds a vocabulary layer, bfloat16 head
    build_transformer_config fixed sequence length between pipeline stages
    get_loss_and_metrics     loss chosen by a key that the YAML does not set, one pair a micro batch, a mean of means,
                             several collectives and host synchronisations a micro batch; forward_backward is ours
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import torch
from lightning.pytorch.trainer.trainer import Trainer
from megatron.core import parallel_state
from megatron.core.pipeline_parallel.schedules import get_forward_backward_func
from megatron.core.transformer.transformer_config import TransformerConfig
from nemo.collections.nlp.models.language_modeling import megatron_gpt_model
from nemo_aligner.models.nlp.gpt.megatron_gpt_reward_model import MegatronGPTRewardModel
from nemo_aligner.utils.train_utils import set_sync_funcs
from omegaconf import DictConfig
from torch import Tensor

from nemo_hs2pref.data.batches import Batch
from nemo_hs2pref.errors import OtherRankError
from nemo_hs2pref.metrics import Sums, measure, no_sums
from nemo_hs2pref.models.objectives import Objective
from nemo_hs2pref.models.reward.gpt_reward_model import GPTRewardModel


class MegatronRewardModel(MegatronGPTRewardModel):
    """A K-attribute reward model trained by an Objective over micro batches of their own length."""

    def __init__(self, cfg: DictConfig, trainer: Trainer) -> None:
        super().__init__(cfg, trainer)
        self.objective: Objective | None = None

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

    def build_transformer_config(self) -> TransformerConfig:
        """Parent: NeMo fixes variable_seq_lengths to False; our micro batches have their own lengths."""
        config = super().build_transformer_config()
        config.variable_seq_lengths = True
        return config

    @property
    def slots(self) -> list[str]:
        """[K] names of the head's outputs."""
        return list(self.cfg.head.attributes)

    def get_loss_and_metrics(self, batch: object, forward_only: bool) -> NoReturn:
        """Refused, so that the parent's loss cannot be reached through Aligner's trainers."""
        raise NotImplementedError("Aligner's loss is not this model's; see nemo_hs2pref.algorithms.step")

    def count_globally(self, batch: Sequence[Batch], error: Exception | None = None) -> dict[str, float]:
        """Items of each term in the global batch, and its "tokens".

        The one collective before backward, in which ranks also agree on a failure: a rank that passes `error` raises
        it, the others raise OtherRankError at the same point.
        """
        assert self.objective is not None
        counts = Counter({"tokens": sum(micro_batch.num_tokens for micro_batch in batch)})
        for micro_batch in batch:
            counts.update(self.objective.counts(micro_batch))
        local = {name: torch.tensor(float(counts[name])) for name in ("tokens", *self.objective.weights)}
        local["failed"] = torch.tensor(float(error is not None))
        totals = {
            name: total.item() for name, total in self.sum_globally(local, also_from_every_rank=("failed",)).items()
        }
        if error is not None:
            raise error
        if failed := totals.pop("failed"):
            raise OtherRankError(f"{int(failed)} other rank(s) could not build a batch; see their message")
        return totals

    def sum_globally(self, sums: Sums, also_from_every_rank: Sequence[str] = ()) -> Sums:
        """Add named tensors over data-parallel ranks, the same answer on every rank, in one all_reduce.

        One tensor-parallel rank of the last pipeline stage counts for its replica; the others add zero.
        Names and shapes must be the same on every rank, so ranks without a sum pass zeros. Returns float64 on the CPU.
        """
        speaks = parallel_state.is_pipeline_last_stage() and parallel_state.get_tensor_model_parallel_rank() == 0
        device = next(self.parameters()).device
        parts = [
            value.to(device, torch.float64).flatten() * (speaks or name in also_from_every_rank)
            for name, value in sums.items()
        ]
        vector = torch.cat(parts)
        torch.distributed.all_reduce(vector)
        totals = vector.cpu().split([value.numel() for value in sums.values()])
        return {name: total.view(sums[name].shape) for name, total in zip(sums, totals, strict=True)}

    def sum_over_model_parallel(self, value: float) -> float:
        """Add a number over the ranks that together hold one copy of the model."""
        total = torch.tensor(value, dtype=torch.float64, device=next(self.parameters()).device)
        torch.distributed.all_reduce(total, group=parallel_state.get_model_parallel_group())
        return total.item()

    def forward_backward(self, batch: Sequence[Batch], counts: Mapping[str, float], *, forward_only: bool) -> Sums:
        """Run the pipeline schedule over this rank's micro batches; returns sums, zeros before the last stage.

        Megatron divides each micro batch's loss by their number and each gradient by the data-parallel size;
        both are undone here, so that the gradient is that of the objective over the global batch. `counts` are
        its items; forward_only does not read them.
        """
        assert self.objective is not None
        objective = self.objective
        megatron_divisor = len(batch) * parallel_state.get_data_parallel_world_size()

        def forward_step(micro_batches: Iterator[Batch], model: torch.nn.Module) -> tuple[Tensor, Any]:
            micro_batch = next(micro_batches)

            def loss(attributes_BK: Tensor) -> tuple[Tensor, Sums]:
                reward_B = objective.reward(attributes_BK)
                totals = objective.totals(attributes_BK, reward_B, micro_batch)
                items = objective.counts(micro_batch)
                sums = {name: torch.stack([t.detach(), torch.full_like(t, items[name])]) for name, t in totals.items()}
                part = attributes_BK.new_zeros(()) if forward_only else objective.loss(totals, counts)
                return part * megatron_divisor, sums | measure(attributes_BK, reward_B, micro_batch)

            return self.forward_stage(micro_batch, model), loss

        outputs = self.run_schedule(forward_step, batch, forward_only=forward_only)
        if outputs:
            return {name: torch.stack([output[name] for output in outputs]).sum(dim=0) for name in outputs[0]}
        terms = {name: torch.zeros(2) for name in objective.weights}
        return terms | no_sums(len(objective.reward_weights))

    def score(self, batch: Sequence[Batch]) -> list[Tensor]:
        """[B, K] attributes of each micro batch on the last pipeline stage; an empty list elsewhere."""

        def forward_step(micro_batches: Iterator[Batch], model: torch.nn.Module) -> tuple[Tensor, Any]:
            output = self.forward_stage(next(micro_batches), model)
            return output, lambda attributes_BK, non_loss_data=True: attributes_BK

        return self.run_schedule(forward_step, batch, forward_only=True, collect_non_loss_data=True)

    def forward_stage(self, micro_batch: Batch, model: torch.nn.Module) -> Tensor:
        """Attributes, or hidden states in the dtype that the stages exchange."""
        output = model(micro_batch)
        return output if parallel_state.is_pipeline_last_stage() else output.to(self.autocast_dtype)

    def run_schedule(
        self, forward_step: Any, batch: Sequence[Batch], *, forward_only: bool, **kwargs: Any
    ) -> list[Any]:
        if not batch:
            return []
        set_sync_funcs(self, forward_only)
        return get_forward_backward_func()(
            forward_step_func=forward_step,
            data_iterator=self._make_data_iterator_list(iter(batch)),
            model=self.model,
            num_microbatches=len(batch),
            forward_only=forward_only,
            seq_length=self.cfg.encoder_seq_length,  # not read: the stages send each other the shapes
            micro_batch_size=self.cfg.micro_batch_size,
            **kwargs,
        )
