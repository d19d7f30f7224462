"""What every rank knows in the same way: sums over all of them, the metrics of these, reasons to stop."""

from collections.abc import Callable, Mapping, Sequence

import torch

from nemo_hs2pref.metrics import Sums, summarise
from nemo_hs2pref.models.reward.megatron_reward_model import MegatronRewardModel

Metrics = dict[str, float]
Flags = Callable[[], Mapping[str, bool]]  # reasons to stop that this rank knows; the same names on every rank
STOP = "stop"  # among the sums: for each reason, how many ranks know it


def agree(model: MegatronRewardModel, sums: Sums, flags: Flags) -> tuple[Sums, Sequence[str]]:
    """The sums over all ranks, and the reasons to stop that any of them knows; one collective."""
    known = flags()
    totals = model.sum_globally({**sums, STOP: torch.tensor([*map(float, known.values())])}, (STOP,))
    raised = totals.pop(STOP).tolist()
    return totals, [name for name, ranks in zip(known, raised, strict=True) if ranks]


def metrics_of(model: MegatronRewardModel, totals: Sums, *, missing_as_zero: bool = False) -> Metrics:
    """The losses (see Objective.losses), and what was measured."""
    assert model.objective is not None
    return model.objective.losses(totals, missing_as_zero=missing_as_zero) | summarise(totals, model.slots)
