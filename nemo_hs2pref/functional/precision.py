"""One rule for the precision of every formula."""

from functools import reduce

import torch
from torch import Tensor


def widened(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in one common dtype: float32, or float64 where any of them has it.

    Half-precision values are widened before they are subtracted: bfloat16 keeps 8 bits, so that the
    difference of two rewards near 20 would otherwise be a multiple of 1/8.
    """
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in tensors), torch.float32)
    return tuple(tensor.to(dtype) for tensor in tensors)


def require_same_shape(**tensors: Tensor) -> None:
    """Refuse broadcasting: [P] against [P, 1] would silently become all P x P combinations."""
    (first, reference), *others = tensors.items()
    for name, tensor in others:
        if tensor.shape != reference.shape:
            raise ValueError(
                f"{first} has shape {tuple(reference.shape)}, {name} has shape {tuple(tensor.shape)}; "
                "they must be equal"
            )
