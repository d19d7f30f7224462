"""Two evaluations on the pairs that both have scored: how far the models are apart, and how sure that is."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nemo_hs2pref.evaluation.rewardbench.difference import overall_difference
from nemo_hs2pref.evaluation.rewardbench.sections import OVERALL
from nemo_hs2pref.evaluation.statistics import FEW
from nemo_hs2pref.report.evaluations import Evaluation, ScoredPair
from nemo_hs2pref.report.verdicts import signed_span

HEADER = ("evaluation", "pairs", "points", "95 % interval", "only the first", "only the second", "the first is")
ALIGN = "lrrrrrl"
Common = Sequence[tuple[ScoredPair, ScoredPair]]


def common_pairs(one: Evaluation, other: Evaluation) -> Common:
    """The same texts under the same ids, each with the rewards of both; none of a benchmark that is not of pairs."""
    if not (one.is_of_pairs and one.benchmark == other.benchmark):
        return []
    theirs = {texts(pair): pair for pair in other.pairs}
    return [(pair, theirs[texts(pair)]) for pair in one.pairs if texts(pair) in theirs]


def texts(pair: ScoredPair) -> tuple[str, ...]:
    return pair.id, pair.prompt, pair.chosen, pair.rejected


def difference(one: Evaluation, other: Evaluation) -> tuple[str, ...]:
    """A row under HEADER, of evaluations with common pairs. RewardBench with all its subsets is judged by Overall."""
    common = common_pairs(one, other)
    pairs = [pair for pair, _ in common]
    wins, other_wins = (np.array([pair.margin > 0 for pair in side]) for side in zip(*common, strict=True))
    gains = wins.astype(float) - other_wins
    title, points, interval = one.title, float(gains.mean()), replace(one, pairs=pairs).interval(gains)
    overall = None if one.overall is None else overall_difference([pair.subset for pair in pairs], wins, other_wins)
    if overall is not None:
        title, points, interval = f"{one.title}, {OVERALL}", overall.difference, overall.interval
    return (
        *(title, count(len(pairs), max(len(one.pairs), len(other.pairs)))),
        *(f"{100 * points:+.1f}", signed_span(interval)),
        *(f"{(gains > 0).sum():,}", f"{(gains < 0).sum():,}"),
        judged(interval, num_prompts=len({pair.prompt for pair in pairs})),
    )


def count(found: int, of: int) -> str:
    return f"{found:,}" if found == of else f"{found:,} of {of:,}"


def judged(interval: tuple[float, float], num_prompts: int) -> str:
    """What the interval of a difference says of the first of two."""
    if num_prompts < FEW:
        return f"open: fewer than {FEW} prompts"
    low, high = interval
    return "better" if low > 0 else "worse" if high < 0 else "not shown to differ"
