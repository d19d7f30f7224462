"""What every rank knows in the same way: sums over all of them, and reasons to stop."""

from collections.abc import Callable, Mapping, Sequence

import torch

from nemo_hs2pref.metrics.sums import Sums
from nemo_hs2pref.models.megatron.collectives import sum_globally

Metrics = dict[str, float]
Flags = Callable[[], Mapping[str, bool]]  # reasons to stop that this rank knows; the same names on every rank
STOP = "stop"  # among the sums: for each reason, how many ranks know it


def agree(device: torch.device, sums: Sums, flags: Flags) -> tuple[Sums, Sequence[str]]:
    """The sums over all ranks, and the reasons to stop that any of them knows; one collective."""
    known = flags()
    totals = sum_globally({**sums, STOP: torch.tensor([*map(float, known.values())])}, device, (STOP,))
    raised = totals.pop(STOP).tolist()
    return totals, [name for name, ranks in zip(known, raised, strict=True) if ranks]
