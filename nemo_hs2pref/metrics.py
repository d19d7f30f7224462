"""From sums to what people read. Sums merge over micro batches and ranks by addition; ratios do not."""

import math
from collections.abc import Mapping


def summarise(sums: Mapping[str, float]) -> dict[str, float]:
    """Ratios of the sums that an objective's terms collect (see models/objectives.py).

    reward_std is the population standard deviation over rows; accuracy counts a tie of rewards as wrong.
    """
    metrics: dict[str, float] = {}
    if rows := sums.get("rows"):
        mean = sums["reward"] / rows
        metrics["reward_mean"] = mean
        metrics["reward_std"] = math.sqrt(max(sums["reward_squared"] / rows - mean * mean, 0.0))
    if pairs := sums.get("pairs"):
        metrics["accuracy"] = sums["correct"] / pairs
        metrics["margin"] = sums["margin"] / pairs
    return metrics
