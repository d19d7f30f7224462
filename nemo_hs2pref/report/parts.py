"""What a benchmark's parts say: the sections of RewardBench, and the domains of RewardBench 2."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nemo_hs2pref.evaluation.length import Rule, credits_of
from nemo_hs2pref.evaluation.rewardbench.sections import SECTIONS
from nemo_hs2pref.evaluation.statistics import FEW
from nemo_hs2pref.report.document import Finding
from nemo_hs2pref.report.evaluations import Evaluation
from nemo_hs2pref.report.verdicts import NOT_SHOWN, WORSE

Domain = Mapping[str, Any]
LEANS: Mapping[Rule | None, int] = {None: 0, "longer": 1, "shorter": -1}  # how a rival follows length
CHANCE_OF_FOUR = 0.25  # a prompt of RewardBench 2 has one correct completion of four; Ties has others, and no interval


class Gain(NamedTuple):
    """How far the share of right ones of a subset's pairs is above a rival's, and the variance of that.

    One pair more speaks for the model, and one against it: else a subset in which all pairs agree, as one pair does,
    would have no variance.
    """

    mean: float
    variance: float
    pairs: int


def domains_above(evaluation: Evaluation, question: str, what: str, level: Callable[[Domain], float]) -> Finding:
    """RewardBench 2: in which domains the score's interval lies above a level. A domain of few prompts is left out."""
    domains: Mapping[str, Domain] = evaluation.summary.get("domains") or {}
    known = {name: of for name, of in domains.items() if of.get("interval") and of["prompts"] >= FEW}
    if not known:
        told = f"No domain has {FEW} prompts and an interval, which Ties never has."
        return Finding(question, "open", "unsure", told)
    above = [name for name, domain in known.items() if domain["interval"][0] > level(domain)]
    reason = f"The score's 95 % interval lies above {what} in {len(above)} of {len(known)} domains"
    told = f"{reason}: {', '.join(above)}." if above else f"{reason}."
    if rest := [name for name in domains if name not in known]:
        told += f" Left out, for want of an interval or of {FEW} prompts: {', '.join(rest)}."
    if len(above) == len(known):
        return Finding(question, "yes", "good", told)
    if above:
        return Finding(question, "in some domains", "unsure", told)
    worse = all(domain["interval"][1] < level(domain) for domain in known.values())
    return Finding(question, WORSE if worse else NOT_SHOWN, "bad", told)


def with_sections(finding: Finding, evaluation: Evaluation, rivals: Sequence[Rule | None]) -> Finding:
    """The finding, with the sections of RewardBench where it is not shown; pooled pairs hide one that fails.

    rivals: what is to be beaten in every section, each of them: a rule of length, or None for guessing.
    """
    if not evaluation.summary.get("sections"):
        return finding
    below = sections_not_above([gains_by_subset(evaluation, rival) for rival in rivals])
    if not below:
        return finding
    where = ", ".join(below)
    reason = f"{finding.reason} By section it is not shown in {where}."
    if finding.tone != "good":
        return Finding(finding.question, finding.answer, finding.tone, reason)
    return Finding(finding.question, f"{finding.answer}, but not shown in {where}", "unsure", reason)


def sections_not_above(rivals: Sequence[Mapping[str, Gain]]) -> list[str]:
    """Scored sections in which the 95 % interval of the gain over some rival is not above 0, or which are too small."""
    return [
        section
        for section, weights in SECTIONS.items()
        if any(weights.keys() <= gains.keys() and not is_above(weights, gains) for gains in rivals)
    ]


def is_above(weights: Mapping[str, int], gains: Mapping[str, Gain]) -> bool:
    """The normal approximation of a mean of subsets, which are separate samples with the weights of the benchmark."""
    shares = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    if sum(gains[name].pairs for name in weights) < FEW:
        return False
    mean = sum(share * gains[name].mean for name, share in shares.items())
    variance = sum(share**2 * gains[name].variance for name, share in shares.items())
    return mean - 1.96 * variance**0.5 > 0


def gains_by_subset(evaluation: Evaluation, rival: Rule | None) -> dict[str, Gain]:
    """Pair by pair where the pairs are there; else of the accuracies, with what the rival has for a fixed level."""
    if not evaluation.pairs:
        subsets: Mapping[str, Mapping[str, Any]] = evaluation.summary.get("subsets") or {}
        return {name: gain_of_summary(of, rival) for name, of in subsets.items()}
    guessed = 0.5 if rival is None else credits_of(rival, evaluation.lengths())
    gains = (evaluation.margins() > 0) - guessed
    names = np.array([pair.subset or "" for pair in evaluation.pairs])
    groups = {str(name): gains[names == name] for name in np.unique(names)}
    return {name: gain_of_pairs(group, 0.5 if rival is None else 1.0) for name, group in groups.items()}


def gain_of_pairs(gains: NDArray[np.float64], most: float) -> Gain:
    """gains: [P], from -most to most."""
    more = np.append(gains, [most, -most])
    return Gain(float(more.mean()), float(more.var() / len(more)), len(gains))


def gain_of_summary(subset: Mapping[str, Any], rival: Rule | None) -> Gain:
    pairs, lean = subset["pairs"], subset["length_only_accuracy"] - subset["shorter_only_accuracy"]
    accuracy = (subset["accuracy"] * pairs + 1) / (pairs + 2)
    level = 0.5 + LEANS[rival] * lean / 2
    return Gain(accuracy - level, accuracy * (1 - accuracy) / (pairs + 2), pairs)
