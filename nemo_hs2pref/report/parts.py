"""What a benchmark's parts say: the sections of RewardBench, and the domains of RewardBench 2."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemo_hs2pref.evaluation.preference_report import FEW
from nemo_hs2pref.evaluation.rewardbench.sections import SECTIONS
from nemo_hs2pref.report.document import Finding
from nemo_hs2pref.report.evaluations import Evaluation

Domain = Mapping[str, Any]
CHANCE_OF_FOUR = 0.25  # a prompt of RewardBench 2 has one correct completion of four; Ties has others, and no interval


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
    return (
        Finding(question, "in some domains", "unsure", told) if above else Finding(question, "not shown", "bad", told)
    )


def with_sections(finding: Finding, evaluation: Evaluation, values: NDArray[np.float64], length: bool) -> Finding:
    """The finding, with the sections of RewardBench where it is not shown; pooled pairs hide one that fails.

    Args:
        values: [P] what should be above 0 on average; empty where the pairs are not there.
        length: the question is whether it is above length, not above one half; without pairs, length is a fixed level.
    """
    if not evaluation.summary.get("sections"):
        return finding
    moments = moments_of_pairs(evaluation, values) if len(values) else moments_of_subsets(evaluation, length)
    if not (below := sections_not_above(moments)):
        return finding
    where = ", ".join(below)
    reason = f"{finding.reason} By section it is not shown in {where}."
    if finding.tone != "good":
        return Finding(finding.question, finding.answer, finding.tone, reason)
    return Finding(finding.question, f"{finding.answer}, but not shown in {where}", "unsure", reason)


def sections_not_above(moments: Mapping[str, tuple[float, float]]) -> list[str]:
    """Scored sections whose 95 % interval is not above 0. moments: subset -> mean, and variance of that mean

    The normal approximation of a mean of subsets, which are separate samples with the weights of the benchmark.
    """
    below: list[str] = []
    for section, weights in SECTIONS.items():
        if weights.keys() <= moments.keys():
            shares = {name: weight / sum(weights.values()) for name, weight in weights.items()}
            mean = sum(share * moments[name][0] for name, share in shares.items())
            variance = sum(share**2 * moments[name][1] for name, share in shares.items())
            if mean - 1.96 * variance**0.5 <= 0:
                below.append(section)
    return below


def moments_of_pairs(evaluation: Evaluation, values: NDArray[np.float64]) -> dict[str, tuple[float, float]]:
    subsets = np.array([pair.subset or "" for pair in evaluation.pairs])
    groups = {str(name): values[subsets == name] for name in np.unique(subsets)}
    return {name: (float(group.mean()), float(group.var() / len(group))) for name, group in groups.items()}


def moments_of_subsets(evaluation: Evaluation, length: bool) -> dict[str, tuple[float, float]]:
    subsets: Mapping[str, Mapping[str, Any]] = evaluation.summary.get("subsets") or {}
    return {
        name: (
            of["accuracy"] - (of["length_only_accuracy"] if length else 0.5),
            of["accuracy"] * (1 - of["accuracy"]) / of["pairs"],
        )
        for name, of in subsets.items()
    }
