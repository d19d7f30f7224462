"""Bytes of weights, gradients and optimizer states on a rank: exact, with the padding of Megatron-Core's buffers."""

import math
from collections.abc import Sequence
from itertools import groupby

from nemo_hs2pref.launch.plan.parameters import Parameter

MAIN_PARAMETER = 4  # float32 copy of a 16-bit parameter
MOMENTS = 8  # AdamW's two, float32
GRADIENT = 4  # float32 (grad_sync_dtype in runtime/run/nemo_config.py)


def width(parameter: Parameter, precision: str) -> int:
    """Bytes a number."""
    return 2 if precision == "bf16" and not parameter.is_head else 4


def weight_bytes(parameters: Sequence[Parameter], precision: str, data: int) -> int:
    """Trained ones lie in padded buffers, frozen ones by themselves."""
    frozen = sum(p.size * width(p, precision) for p in parameters if not p.trained)
    return frozen + sum(buffer_size(group, data) * bytes_ for bytes_, group in buffers(parameters, precision))


def gradient_bytes(parameters: Sequence[Parameter], precision: str, data: int) -> int:
    return sum(buffer_size(group, data) * GRADIENT for _, group in buffers(parameters, precision))


def optimizer_bytes(parameters: Sequence[Parameter], precision: str, data: int) -> list[int]:
    """[data] bytes of each data-parallel rank: it holds the states of its equal part of every buffer."""
    totals = [0] * data
    for bytes_, group in buffers(parameters, precision):
        per_number = MOMENTS + (MAIN_PARAMETER if bytes_ == 2 else 0)
        for rank, numbers in enumerate(shard_sizes(group, data)):
            totals[rank] += numbers * per_number
    return totals


def buffers(parameters: Sequence[Parameter], precision: str) -> list[tuple[int, list[int]]]:
    """(bytes a number, sizes) of the trained parameters of each dtype, in the buffer's order: the last one first."""
    trained = sorted(((width(p, precision), p) for p in reversed(parameters) if p.trained), key=lambda pair: pair[0])
    return [(bytes_, [p.size for _, p in group]) for bytes_, group in groupby(trained, key=lambda pair: pair[0])]


def places(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """(start, end) of each parameter: Megatron-Core 0.11 lets it start at a multiple of 64 numbers."""
    found: list[tuple[int, int]] = []
    end = 0
    for size in sizes:
        start = -(-end // 64) * 64
        end = start + size
        found.append((start, end))
    return found


def buffer_size(sizes: Sequence[int], data: int) -> int:
    """Numbers in a buffer: one bucket, since reductions do not overlap, of equal parts for the data-parallel ranks."""
    multiple = math.lcm(data, 128)
    return -(-places(sizes)[-1][1] // multiple) * multiple


def shard_sizes(sizes: Sequence[int], data: int) -> list[int]:
    """[data] how many numbers of a buffer, padding left out, each data-parallel rank updates."""
    share = buffer_size(sizes, data) // data
    spans = places(sizes)
    return [
        sum(max(0, min(end, (rank + 1) * share) - max(start, rank * share)) for start, end in spans)
        for rank in range(data)
    ]
