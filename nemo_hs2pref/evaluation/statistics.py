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


def bootstrap_interval_over_seeds(
    values: Sequence[Sequence[float]] | Array,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of a table whose rows and columns are both samples.

    Accuracy depends on which pairs were held out and on which seeds the models were trained with. Each resample draws
    as many seeds as there are and, independently, as many pairs as there are, with replacement, and takes the mean of
    the table that they cut out (Owen, "The pigeonhole bootstrap", 2007). All seeds share the pairs, so an interval over
    all cells as if they were independent would be too narrow. With n seeds the bootstrap takes their variance for
    (n - 1) / n of what it is, and with one for nothing: the interval is then that of the pairs.

    Args:
        values: [S, P], one row a seed and one column a pair, both at least 1.
    """
    values = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    seeds, pairs = values.shape
    at_once = max(1, DRAWS_AT_ONCE // pairs)
    means: list[NDArray[np.float64]] = []
    for done in range(0, resamples, at_once):
        size = min(at_once, resamples - done)
        over_seeds = values[generator.integers(seeds, size=(size, seeds))].mean(axis=1)  # [size, P]
        drawn = generator.integers(pairs, size=(size, pairs))
        means.append(np.take_along_axis(over_seeds, drawn, axis=1).mean(axis=1))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def pearson(x: Sequence[float] | Array, y: Sequence[float] | Array) -> float | None:
    """Pearson correlation of two equally long sequences; None where one of them is constant."""
    x, y = (np.asarray(values, dtype=np.float64) - np.mean(values) for values in (x, y))
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale > 0 else None
