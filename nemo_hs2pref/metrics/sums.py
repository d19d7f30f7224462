"""The sums that others are made of."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Sums = dict[str, Tensor]
# (outputs of a model's last stage, the micro batch) -> its part of the loss of the global batch [], and its sums
LossOf = Callable[[Tensor, Any], tuple[Tensor, Sums]]


def moments(x: Tensor, y: Tensor, counted: Tensor) -> Tensor:
    """[6, ...]: n, x, y, x^2, y^2 and x*y summed over dimension 0, where `counted`."""
    x, y = x.where(counted, 0.0), y.where(counted, 0.0)
    return torch.stack([counted.double(), x, y, x * x, y * y, x * y]).sum(dim=1)


def pearson(sums: Tensor) -> float | None:
    """Pearson correlation from the six `moments`; None where one side is constant to rounding."""
    n, x, y, xx, yy, xy = sums.tolist()
    spread_x, spread_y = n * xx - x * x, n * yy - y * y
    if spread_x <= 1e-12 * n * xx or spread_y <= 1e-12 * n * yy:
        return None
    return (n * xy - x * y) / math.sqrt(spread_x * spread_y)
