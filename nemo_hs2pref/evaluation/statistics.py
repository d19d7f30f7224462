"""Numbers with their uncertainty."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64] | NDArray[np.bool_] | NDArray[np.int64]
CONFIDENCE = 0.95
RESAMPLES = 10_000
SEED = 0
INTERVALS = {"confidence": CONFIDENCE, "resamples": RESAMPLES, "seed": SEED}  # for what states an interval
FEW = 30  # observations to resample, as prompts; with fewer an interval is too narrow (docs/evaluation.md)
DIGITS = 12  # of a sum of shares: the rounding errors of what adds up to 0 are neither above nor below it
DRAWS_AT_ONCE = 2**22  # 32 MiB of indices


def bootstrap_interval(
    values: Sequence[float] | Array, *, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean.

    Draws as many values as there are, with replacement, `resamples` times, and takes the quantiles of the means.
    Values that are all equal give an interval of no width, which says little about few values.

    Args:
        values: [N], one independent observation each (a pair, not a response), N at least 1.
    """
    values = np.asarray(values, dtype=np.float64)
    means = np.concatenate([values[drawn].mean(axis=1) for drawn in _draws(len(values), resamples, seed)])
    return _middle(means)


def too_narrow(sizes: Mapping[str, int], unit: str = "prompts") -> list[str]:
    """A warning, if any, for the samples (name -> size) whose intervals `bootstrap_interval` makes too narrow."""
    small = [f"{name} ({size})" if name else f"{size} here" for name, size in sizes.items() if size < FEW]
    return [f"warning: intervals are too narrow with fewer than {FEW} {unit}: {', '.join(small)}"] if small else []


def stratified_bootstrap_interval(strata: Sequence[tuple[float, NDArray[np.float64]]]) -> tuple[float, float]:
    """Percentile bootstrap interval of a weighted sum of means, each over a sample of its own.

    Args:
        strata: weight, and [N] values, one independent observation each, that are resampled among themselves.
    """
    total = np.zeros(RESAMPLES)
    for number, (weight, values) in enumerate(strata):
        draws = _draws(len(values), RESAMPLES, SEED + number)  # or samples of one size would be drawn alike
        total += weight * np.concatenate([values[drawn].mean(axis=1) for drawn in draws])
    return _middle(total.round(DIGITS))


def bootstrap_intervals(
    values: NDArray[np.float64],
    groups: NDArray[np.bool_],
    clusters: NDArray[np.int64],
    *,
    resamples: int = RESAMPLES,
) -> list[list[tuple[float, float]]]:
    """Percentile bootstrap intervals of the means of several values in several groups, all from the same draws.

    Observations of one cluster depend on each other, so clusters are drawn, and all observations of a drawn one come
    with it (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, 3.8). Where every observation is a
    cluster of its own, the interval over all of them is that of `bootstrap_interval`. A resample without any
    observation of a group has no mean there and is left out.

    Args:
        values: [N, K], what is averaged.
        groups: [N, G], which observations are in each group, at least one in each.
        clusters: [N], the number of each observation's cluster, from 0. Where there is one, each is its own.

    Returns:
        [G][K] intervals.
    """
    clusters = _numbers(clusters)
    of_each = np.column_stack([np.ones(len(values)), values])  # [N, 1 + K], the count and the sums of one observation
    parts = [_totals(of_each[group], clusters[group]) for group in groups.T]  # a group has few of the clusters
    sums = np.empty((len(parts), of_each.shape[1], resamples))
    done = 0
    for drawn in _draws(clusters.max() + 1, resamples, SEED):
        times, rows = _times_drawn(drawn), slice(done, done := done + len(drawn))
        for place, (found, totals) in enumerate(parts):
            sums[place, :, rows] = (np.take(times, found, axis=1) @ totals).T
    return [[_middle(of_value[count > 0] / count[count > 0]) for of_value in of_values] for count, *of_values in sums]


def _numbers(clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    """[N] numbers of the clusters to draw: where there is one alone, its observations are all that can be drawn."""
    return clusters if clusters.max() > 0 else np.arange(len(clusters))


def _totals(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """[C] which clusters there are, and [C, K] the sums of their `values`, [N, K]."""
    found, place = np.unique(clusters, return_inverse=True)
    totals = np.zeros((len(found), values.shape[1]))
    np.add.at(totals, place, values)
    return found, totals


def _draws(size: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """[some, size] indices, `resamples` rows in all; how many come at once changes none of them."""
    generator = np.random.default_rng(seed)
    at_once = max(1, DRAWS_AT_ONCE // size)
    for done in range(0, resamples, at_once):
        yield generator.integers(size, size=(min(at_once, resamples - done), size))


def _times_drawn(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """[R, G] how often each of G was drawn, of [R, G] draws; float, as only that is multiplied by BLAS."""
    rows, size = drawn.shape
    places = drawn + size * np.arange(rows)[:, None]
    return np.bincount(places.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)


def _middle(means: NDArray[np.float64]) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def bootstrap_interval_over_seeds(
    values: Sequence[Sequence[float]] | Array, clusters: NDArray[np.int64], *, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Interval of the mean of a table whose rows and columns are both samples.

    Accuracy depends on which prompts were held out and on which seeds the models were trained with. Prompts are
    resampled, each with its pairs (see bootstrap_intervals), on the mean over the seeds. Seeds are too few for that:
    with n of them a bootstrap takes their variance for (n - 1) / n of what it is, and its tails for a normal
    distribution's. To each resampled mean is added, instead, a draw from Student's t with n - 1 degrees of freedom,
    times the standard error of the mean over the seeds: the distribution of Behrens and Fisher. What is random in a
    pair and a seed together counts in both parts, so the interval is rather wide than narrow; docs/evaluation.md has
    its coverage.

    One seed says nothing about others: the interval is that of the prompts, for this one model. No interval reaches
    beyond the smallest and the largest value.

    Args:
        values: [S, P], one row a seed and one column a pair, both at least 1.
        clusters: [P], the number of each pair's prompt, from 0. Where there is one, each pair is its own.
    """
    values, clusters = np.asarray(values, dtype=np.float64), _numbers(clusters)
    _, totals = _totals(values.mean(axis=0)[:, None], clusters)
    totals, sizes = totals[:, 0], np.bincount(clusters)  # [C] each
    draws = _draws(len(sizes), resamples, SEED)
    means = np.concatenate([totals[drawn].sum(axis=1) / sizes[drawn].sum(axis=1) for drawn in draws])
    seeds = len(values)
    if seeds > 1:
        error = values.mean(axis=1).std(ddof=1) / np.sqrt(seeds)
        means += error * np.random.default_rng(SEED + 1).standard_t(seeds - 1, size=resamples)
    low, high = _middle(means)
    return max(low, float(values.min())), min(high, float(values.max()))


def pearson(x: Sequence[float] | Array, y: Sequence[float] | Array) -> float | None:
    """Pearson correlation of two equally long sequences; None where one of them is constant, or empty."""
    x, y = (np.asarray(values, dtype=np.float64) for values in (x, y))
    if len(x) == 0 or np.ptp(x) == 0 or np.ptp(y) == 0:  # not by the spread: the mean of equal numbers may be rounded
        return None
    x, y = _centred(x), _centred(y)
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def spearman(x: Sequence[float] | Array, y: Sequence[float] | Array) -> float | None:
    """Spearman correlation: Pearson's of the ranks, where equal numbers share the mean of theirs; None as there."""
    return pearson(_ranks(x), _ranks(y))


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without the mean, and scaled to at most 1, so that squares neither overflow nor vanish."""
    centred = values - values.mean()
    return centred / np.abs(centred).max()


def _ranks(values: Sequence[float] | Array) -> NDArray[np.float64]:
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]
