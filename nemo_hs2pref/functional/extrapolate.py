"""Checkpoints combined number by number: ExPO from a weaker to a stronger one, averages of several."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from nemo_hs2pref.functional.precision import require_same_shape, widened


def extrapolate(weak: Tensor, strong: Tensor, alpha: float) -> Tensor:
    """weak + alpha (strong - weak): alpha 0 is the weak tensor, 1 the strong one, 1.52 the paper's best.

    Args:
        weak: a parameter of the weaker model (regression in the paper), any floating dtype and shape.
        strong: the same parameter of the stronger model trained from it (scaled Bradley-Terry), same dtype and shape.
        alpha: factor on the step from weak to strong. Zheng et al. (arXiv 2404.16792) count from the strong model:
            their 0.52 is 1.52 here.

    Returns:
        The same shape and dtype; computed in float32 or wider, since bfloat16 would round away small steps. With alpha
        1 the strong tensor and with 0 the weak one, bit for bit: w + (s - w) may be rounded to a neighbour of s.

    Raises:
        ValueError: unequal shapes or dtypes, or an integer dtype.
    """
    require_same_shape(weak=weak, strong=strong)
    if weak.dtype != strong.dtype or not weak.dtype.is_floating_point:
        raise ValueError(f"weak is {weak.dtype}, strong is {strong.dtype}; they must be one floating-point dtype")
    if alpha in (0, 1):
        return (strong if alpha else weak).clone()
    wide_weak, wide_strong = widened(weak, strong)
    return (wide_weak + alpha * (wide_strong - wide_weak)).to(weak.dtype)


def average(tensors: Iterable[Tensor], weights: Sequence[float]) -> Tensor:
    """sum(weight x tensor) / sum(weights): a model soup (Wortsman et al., arXiv 2203.05482).

    Args:
        tensors: the same parameter of several models, one floating dtype and shape; asked for one after the other,
            so that an iterator needs memory for one and the sum.
        weights: one a tensor, at least 0, not all 0.

    Returns:
        The same shape and dtype; summed in float32 or wider.

    Raises:
        ValueError: unequal shapes or dtypes, an integer dtype, other weights than those.
    """
    shares = normalized(weights)
    dtype, total = None, torch.zeros(())
    for share, tensor in zip(shares, tensors, strict=True):
        if dtype is None:
            dtype, total = tensor.dtype, torch.zeros_like(widened(tensor)[0])
        require_same_shape(first=total, other=tensor)
        if tensor.dtype != dtype or not dtype.is_floating_point:
            raise ValueError(f"tensors are {dtype} and {tensor.dtype}; they must be one floating-point dtype")
        total.add_(tensor, alpha=share)
    return total.to(dtype)


def normalized(weights: Sequence[float]) -> list[float]:
    """The weights divided by their sum."""
    total = sum(weights)
    if not (all(weight >= 0 for weight in weights) and 0 < total < float("inf")):
        raise ValueError(f"weights are {list(weights)}; expected finite numbers of at least 0, not all 0")
    return [weight / total for weight in weights]
