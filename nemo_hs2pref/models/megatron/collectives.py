"""What all ranks agree on. Names and shapes are the same on every rank; a rank that has nothing passes zeros."""

from collections.abc import Mapping, Sequence

import torch
from megatron.core import parallel_state
from torch import Tensor

from nemo_hs2pref.errors import OtherRankError

FAILED = "failed"  # among counts: ranks that could not make their part


def sum_globally(
    sums: Mapping[str, Tensor], device: torch.device, also_from_every_rank: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Add named tensors over data-parallel ranks, the same answer on every rank, in one all_reduce.

    One tensor-parallel rank of the last pipeline stage counts for its replica, the others add zero; what stands in
    `also_from_every_rank` is added from all. Returns float64 on the CPU.
    """
    speaks = parallel_state.is_pipeline_last_stage() and parallel_state.get_tensor_model_parallel_rank() == 0
    parts = [
        value.to(device, torch.float64).flatten() * (speaks or name in also_from_every_rank)
        for name, value in sums.items()
    ]
    vector = torch.cat(parts)
    torch.distributed.all_reduce(vector)
    totals = vector.cpu().split([value.numel() for value in sums.values()])
    return {name: total.view(sums[name].shape) for name, total in zip(sums, totals, strict=True)}


def count_globally(counts: Mapping[str, float], device: torch.device, error: Exception | None) -> dict[str, float]:
    """The one collective before backward: counts of the global batch, in which ranks also agree on a failure.

    A rank that passes `error` raises it, the others raise OtherRankError at the same point.
    """
    local = {name: torch.tensor(float(count)) for name, count in counts.items()}
    local[FAILED] = torch.tensor(float(error is not None))
    totals = {name: total.item() for name, total in sum_globally(local, device, (FAILED,)).items()}
    if error is not None:
        raise error
    if failed := totals.pop(FAILED):
        raise OtherRankError(f"{int(failed)} other rank(s) could not build a batch; see their message")
    return totals


def sum_over_model_parallel(value: float, device: torch.device) -> float:
    """Add a number over the ranks that together hold one copy of the model."""
    total = torch.tensor(value, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(total, group=parallel_state.get_model_parallel_group())
    return total.item()
