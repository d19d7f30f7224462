"""Weights that are no numbers are not handed on: every reward of such a model would be NaN."""

import torch
from torch import Tensor

from nemo_hs2pref.errors import CheckpointError


def refuse_not_finite(tensor: Tensor, name: str, where: str) -> None:
    """Raise CheckpointError where a number of `tensor`, of any shape and floating dtype, is NaN or infinite."""
    if tensor.numel() and not torch.stack(torch.aminmax(tensor)).isfinite().all():  # no copy of the tensor
        raise CheckpointError(
            f"{where}: tensor {name} has numbers that are not finite; look at the models it is made of"
        )
