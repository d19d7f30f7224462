"""Squared error of the attribute ratings. Dimensions: B responses, K attributes."""

import math

import torch
from torch import Tensor

from nemo_hs2pref.functional.precision import require_same_shape, widened


def regression_loss(predictions_BK: Tensor, targets_BK: Tensor, ignore_value: float = -100.0) -> tuple[Tensor, Tensor]:
    """Squared error of every rated cell: (prediction - target)^2.

    Args:
        predictions_BK: outputs of the reward head, [B, K], any floating dtype.
        targets_BK: ratings (0 to 4 in HelpSteer2), [B, K]; a cell without a rating holds `ignore_value`.
        ignore_value: marks a cell without a rating; NaN is allowed.

    Returns:
        squared_error: [B, K], float32 or wider. A masked cell has 0 and gradient 0, whatever stands there.
        valid: [B, K], bool, True where a rating is given. The mean is squared_error.sum() / valid.sum() over the
            whole global batch; a batch without any rating has both sums 0.

    Raises:
        ValueError: unequal shapes.

    Source: SteerLM regression (arXiv 2410.01257, 2406.08673). NeMo-Aligner 0.7.0 divides within each micro batch,
    which gives the same mean where all responses have equally many ratings.
    """
    require_same_shape(predictions=predictions_BK, targets=targets_BK)
    valid_BK = ~targets_BK.isnan() if math.isnan(ignore_value) else targets_BK != ignore_value
    predictions_BK, targets_BK = widened(predictions_BK, targets_BK)
    # Masked before the difference, not after: inf - inf or 0 * inf would put NaN into the gradient.
    zero = predictions_BK.new_zeros(())
    difference_BK = torch.where(valid_BK, predictions_BK, zero) - torch.where(valid_BK, targets_BK, zero)
    return difference_BK.square(), valid_BK
