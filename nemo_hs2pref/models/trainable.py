"""A model with what trains it."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch

from nemo_hs2pref.metrics.sums import LossOf, Sums


class TrainedModel(Protocol):
    """What step, validation and checkpoints ask of a model: models.megatron.schedule.MegatronParts has it."""

    cfg: Any

    @property
    def device(self) -> torch.device: ...
    def parameters(self) -> Any: ...
    def prepare_for_training_step(self) -> None: ...
    def finish_training_step(self) -> None: ...
    def prepare_for_validation_step(self) -> None: ...
    def finish_validation_step(self) -> None: ...
    def forward_backward(self, batches: Any, loss_of: LossOf, no_sums: Sums) -> Sums: ...
    def sums(self, batches: Any, sums_of: Any, no_sums: Sums) -> Sums: ...
    def sharded_state_dict(self) -> Any: ...


@dataclass(frozen=True)
class Trainable:
    """What an optimizer step changes; runtime.run.build makes it."""

    model: TrainedModel
    optimizer: Any  # NeMo's McoreDistributedOptimizer
    scheduler: Any  # a torch LRScheduler, one step an optimizer step
