"""ExPO: extrapolation from a weaker to a stronger checkpoint."""

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
        The same shape and dtype; computed in float32 or wider, since bfloat16 would round away small steps.

    Raises:
        ValueError: unequal shapes or dtypes, or an integer dtype.
    """
    require_same_shape(weak=weak, strong=strong)
    if weak.dtype != strong.dtype or not weak.dtype.is_floating_point:
        raise ValueError(f"weak is {weak.dtype}, strong is {strong.dtype}; they must be one floating-point dtype")
    wide_weak, wide_strong = widened(weak, strong)
    return (wide_weak + alpha * (wide_strong - wide_weak)).to(weak.dtype)
