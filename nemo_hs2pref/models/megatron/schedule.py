"""Micro batches through the pipeline stages: what a NeMo model of any algorithm needs to be trained and to be asked.

A model class of NeMo's inherits MegatronParts and builds its stages in model_provider_func; each stage is called with
a TokenBatch and, where the last one needs it, the whole micro batch.

Upstream behaviour that is replaced (Aligner 0.7.0, megatron-core 0.11):
    get_loss_and_metrics     a mean of means, several collectives and host synchronisations a micro batch
    build_transformer_config fixed sequence length between pipeline stages
    forward_only             does not turn gradients off
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import torch
from megatron.core import parallel_state
from megatron.core.pipeline_parallel.schedules import get_forward_backward_func
from megatron.core.transformer.transformer_config import TransformerConfig
from nemo_aligner.utils import train_utils
from torch import Tensor

from nemo_hs2pref.data.batches.tokens import MicroBatch
from nemo_hs2pref.metrics.sums import LossOf, Sums


class MegatronParts:
    """Beside a class of NeMo's MegatronGPTModel; see the module."""

    cfg: Any
    model: Any
    autocast_dtype: torch.dtype

    def build_transformer_config(self) -> TransformerConfig:
        """NeMo fixes variable_seq_lengths to False; our micro batches have their own lengths."""
        config = super().build_transformer_config()  # pyright: ignore
        config.variable_seq_lengths = True
        return config

    def get_loss_and_metrics(self, batch: object, forward_only: bool) -> NoReturn:
        """Refused, so that a loss of Aligner's cannot be reached through its trainers."""
        raise NotImplementedError("Aligner's loss is not this model's; see nemo_hs2pref.algorithms.step")

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device  # pyright: ignore

    def prepare_for_training_step(self) -> None:
        train_utils.prepare_for_training_step(self, zero_grad=False)  # Megatron's buffers are zeroed in any case

    def finish_training_step(self) -> None:
        train_utils.grad_reductions(self)

    def prepare_for_validation_step(self) -> None:
        train_utils.prepare_for_validation_step(self)

    def finish_validation_step(self) -> None:
        train_utils.finish_validation_step(self)

    def forward_backward(self, batches: Sequence[MicroBatch], loss_of: LossOf, no_sums: Sums) -> Sums:
        """Gradients of the loss, and the sums of this rank's micro batches; `no_sums` before the last stage.

        Megatron divides each micro batch's loss by their number and each gradient by the data-parallel size; both are
        undone here, so that the gradient is that of the sum of all parts.
        """
        divisor = len(batches) * parallel_state.get_data_parallel_world_size()

        def scaled(outputs: Tensor, batch: MicroBatch) -> tuple[Tensor, Sums]:
            loss, sums = loss_of(outputs, batch)
            return loss * divisor, sums

        return added(self._run(batches, scaled, forward_only=False), no_sums)

    @torch.no_grad()
    def sums(self, batches: Sequence[MicroBatch], sums_of: Callable[[Tensor, Any], Sums], no_sums: Sums) -> Sums:
        """The sums of this rank's micro batches without gradients; `no_sums` before the last stage."""
        found = self._run(batches, lambda outputs, batch: (outputs.new_zeros(()), sums_of(outputs, batch)))
        return added(found, no_sums)

    @torch.no_grad()
    def outputs(self, batches: Sequence[MicroBatch]) -> list[Tensor]:
        """What the last stage makes of each micro batch; an empty list on the other stages."""
        return self._run(batches, None)

    def _run(self, batches: Sequence[MicroBatch], loss_of: LossOf | None, *, forward_only: bool = True) -> list[Any]:
        """Without a loss the outputs themselves."""
        if not batches:
            return []

        def forward_step(micro_batches: Iterator[MicroBatch], stage: torch.nn.Module) -> tuple[Tensor, Any]:
            batch = next(micro_batches)

            def loss(outputs: Tensor, non_loss_data: bool = False) -> Any:
                return outputs if loss_of is None else loss_of(outputs, batch)

            output = stage(batch)
            # hidden states in the dtype that the stages exchange
            return output if parallel_state.is_pipeline_last_stage() else output.to(self.autocast_dtype), loss

        train_utils.set_sync_funcs(self, forward_only)
        return get_forward_backward_func()(
            forward_step_func=forward_step,
            data_iterator=self._make_data_iterator_list(iter(batches)),  # pyright: ignore
            model=self.model,
            num_microbatches=len(batches),
            forward_only=forward_only,
            seq_length=self.cfg.encoder_seq_length,  # not read: the stages send each other the shapes
            micro_batch_size=self.cfg.micro_batch_size,
            **({"collect_non_loss_data": True} if loss_of is None else {}),
        )


def added(of_micro_batches: Sequence[Sums], no_sums: Sums) -> Sums:
    """The sums over micro batches; `no_sums` where there are none."""
    if not of_micro_batches:
        return no_sums
    return {name: torch.stack([sums[name] for sums in of_micro_batches]).sum(dim=0) for name in of_micro_batches[0]}
