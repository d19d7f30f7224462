"""Numbers with their uncertainty."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64] | NDArray[np.bool_] | NDArray[np.int64]
CONFIDENCE = 0.95
RESAMPLES = 10_000
SEED = 0
DRAWS_AT_ONCE = 2**22  # 32 MiB of indices


def bootstrap_interval(
    values: Sequence[float] | Array,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean.

    Draws as many values as there are, with replacement, `resamples` times, and takes the quantiles of the means.
    Values that are all equal give an interval of no width, which says little about few values.

    Args:
        values: [N], one independent observation each (a pair, not a response), N at least 1.
    """
    values = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    at_once = max(1, DRAWS_AT_ONCE // len(values))
    means = np.concatenate(
        [
            values[generator.integers(len(values), size=(min(at_once, resamples - done), len(values)))].mean(axis=1)
            for done in range(0, resamples, at_once)
        ]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def pearson(x: Sequence[float] | Array, y: Sequence[float] | Array) -> float | None:
    """Pearson correlation of two equally long sequences; None where one of them is constant."""
    x, y = (np.asarray(values, dtype=np.float64) - np.mean(values) for values in (x, y))
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale > 0 else None
