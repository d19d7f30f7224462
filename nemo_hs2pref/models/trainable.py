"""A reward model with what trains it."""

from dataclasses import dataclass
from typing import Any

from nemo_hs2pref.models.reward.megatron_reward_model import MegatronRewardModel


@dataclass(frozen=True)
class Trainable:
    """What an optimizer step changes; runtime.build makes it."""

    model: MegatronRewardModel
    optimizer: Any  # NeMo's McoreDistributedOptimizer
    scheduler: Any  # a torch LRScheduler, one step an optimizer step
