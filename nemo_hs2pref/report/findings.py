"""What an evaluation says about a reward model: four questions, each with its answer and the figures behind it.

Better than chance and length is what a 95 % interval shows to be better. Calibrated and independent of length is what
differs by less than 5 points, and for sure by less than 10. Fewer than FEW prompts answer nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nemo_hs2pref.evaluation.calibration import calibrate, confidence_and_outcome, errors_if_calibrated
from nemo_hs2pref.evaluation.length import RULES, Rule, better_rule, credits_of
from nemo_hs2pref.evaluation.statistics import FEW
from nemo_hs2pref.report.document import Finding
from nemo_hs2pref.report.evaluations import Evaluation
from nemo_hs2pref.report.parts import CHANCE_OF_FOUR, domains_above, with_sections
from nemo_hs2pref.report.verdicts import (
    NOT_SHOWN,
    NOTABLE,
    TOLERANCE,
    TOO_FEW,
    WORSE,
    Booleans,
    Interval,
    close_to_zero,
    difference_interval,
    percent,
    signed_span,
    span,
    verdict,
)

CHANCE, LENGTH, CALIBRATION, DEPENDENCE = (
    "Better than chance?",
    "Better than length alone?",
    "Are its margins probabilities?",
    "Independent of length?",
)
FEWEST = 10  # pairs of a group that an accuracy is compared with


def findings(evaluation: Evaluation) -> list[Finding]:
    """Those that can be asked of what is there, in the order of the page."""
    asked = QUESTIONS if evaluation.is_of_pairs and evaluation.pairs else (CHANCE, LENGTH)
    return [ask(question, evaluation) for question in asked]


def ask(question: str, evaluation: Evaluation) -> Finding:
    """The answer, which is open where there are few prompts; that to a question of margins, where most have none."""
    if (prompts := evaluation.prompts) < FEW:
        return Finding(question, "open", "unsure", f"{prompts} prompts are too few to tell; at least {FEW} are needed.")
    if question in (CALIBRATION, DEPENDENCE) and is_mostly_tied(evaluation):
        return Finding(question, "open", "unsure", f"{ties_told(evaluation)}, which say nothing of it.")
    return QUESTIONS[question](evaluation)


def is_mostly_tied(evaluation: Evaluation) -> bool:
    return 2 * ties_of(evaluation) > evaluation.summary["pairs"]


def ties_of(evaluation: Evaluation) -> int:
    """Pairs of equal rewards; a summary that does not count them has none."""
    return evaluation.summary.get("ties", 0)


def ties_told(evaluation: Evaluation) -> str:
    return f"Both responses have the same reward in {ties_of(evaluation):,} of {evaluation.summary['pairs']:,} pairs"


def beats_chance(evaluation: Evaluation) -> Finding:
    """The interval of the accuracy against one half; of RewardBench 2, of every domain's score against one in four."""
    if not evaluation.is_of_pairs:
        return domains_above(evaluation, CHANCE, "the 25 % of guessing", lambda _: CHANCE_OF_FOUR)
    accuracy, interval = evaluation.summary["accuracy"], accuracy_interval(evaluation)
    reason = (
        f"The chosen response has the higher reward in {percent(accuracy)} of {evaluation.summary['pairs']:,} pairs"
    )
    if interval is None:
        return Finding(CHANCE, "open", "unsure", f"{reason}; the evaluation has no interval.")
    answer, tone = verdict((interval[0] - 0.5, interval[1] - 0.5))
    if answer == WORSE and interval[1] + ties_of(evaluation) / evaluation.summary["pairs"] / 2 >= 0.5:
        answer = NOT_SHOWN  # ties prefer neither side: without what they lose, it is not below guessing
    told = f"{reason} (95 % interval {span(interval)}); guessing gives 50 %."
    found = Finding(CHANCE, answer, tone, told)
    return with_sections(found, evaluation, [None])


def beats_length(evaluation: Evaluation) -> Finding:
    """Against the better rule of length: pair by pair where the pairs are there, else by the accuracy's interval."""
    alone = length_alone(evaluation)
    if alone is None:
        told = "The evaluation does not say what taking the shorter response reaches; evaluate again."
        return Finding(LENGTH, "open", "unsure", told)
    if not evaluation.is_of_pairs:
        return domains_above(evaluation, LENGTH, "length alone", length_of_domain)
    accuracy, (rule, level) = evaluation.summary["accuracy"], alone
    both = f"{percent(accuracy)} by the reward, {percent(level)} by taking the {rule} response"
    if evaluation.pairs:
        interval = evaluation.interval((evaluation.margins() > 0) - credits_of(rule, evaluation.lengths()))
        points = f"{100 * (accuracy - level):+.1f} points on the same pairs"
        told = f"{both}: {points} (95 % interval {signed_span(interval)})."
    else:
        own = accuracy_interval(evaluation)
        if own is None:
            return Finding(LENGTH, "open", "unsure", f"{both}; the evaluation has no interval.")
        interval = own[0] - level, own[1] - level
        told = f"{both}; the accuracy's 95 % interval is {span(own)}."
    return with_sections(Finding(LENGTH, *verdict(interval), told), evaluation, RULES)


def length_alone(evaluation: Evaluation) -> tuple[Rule, float] | None:
    """The better rule of length and its share; None where the summary is older than the question."""
    if "shorter_only_accuracy" not in evaluation.summary:
        return None
    return better_rule(evaluation.summary["length_only_accuracy"], evaluation.summary["shorter_only_accuracy"])


def length_of_domain(domain: Mapping[str, float]) -> float:
    return max(domain["length_only_score"], domain["shorter_only_score"])


def is_calibrated(evaluation: Evaluation) -> Finding:
    """Bradley-Terry's probability of the preferred side, sigma(|margin|), against how often that side is the chosen.

    A tie, which prefers neither, counts half, as in the calibration of the summary.
    """
    margins = evaluation.margins()
    claimed, right = confidence_and_outcome(margins)
    gap, interval = float((claimed - right).mean()), evaluation.interval(claimed - right)
    kind = "over-confident" if gap > 0 else "under-confident"
    means = percent(float(claimed.mean())), percent(float(right.mean()))
    reason = f"By its margins it is right in {means[0]}, in fact in {means[1]}"
    told = f"{reason}: {100 * gap:+.1f} points (95 % interval {signed_span(interval)})."
    return bin_by_bin(close_to_zero(CALIBRATION, gap, interval, told, f"no, {kind}"), margins)


def bin_by_bin(of_means: Finding, margins: NDArray[np.float64]) -> Finding:
    """The finding, unless the means hide that it claims too much in some pairs and too little in others.

    The calibration error is too large on few pairs, so it speaks against the model where it is above what 95 % of
    calibrated models would have on these pairs, and notably above their mean. A yes needs it within the tolerance.
    """
    error, chance = calibrate(margins).expected_calibration_error, errors_if_calibrated(margins)
    expected = float(chance.mean())
    both = f"{100 * error:.1f} points apart, of a calibrated model {100 * expected:.1f} on these pairs"
    found = replace(of_means, reason=f"{of_means.reason} Bin by bin the two are {both}.")
    if of_means.answer.startswith("no"):
        return found
    if error - expected >= NOTABLE and error > np.quantile(chance, 0.95):
        return replace(found, answer="no, over- and under-confident", tone="unsure")
    if of_means.answer == "yes" and error >= TOLERANCE:
        return replace(found, answer="open", tone="unsure", reason=f"{found.reason} {TOO_FEW}")
    return found


def depends_on_length(evaluation: Evaluation) -> Finding:
    """Whether it is right about as often where the better response is the shorter one."""
    right, longer, shorter = evaluation.margins() > 0, *longer_and_shorter(evaluation)
    if min(longer.sum(), shorter.sum()) < FEWEST:
        few = f"{longer.sum()} pairs have the longer response as the chosen one and {shorter.sum()} the shorter"
        return Finding(DEPENDENCE, "open", "unsure", f"{few}; at least {FEWEST} of each are needed.")
    of_longer, of_shorter = right[longer], right[shorter]
    reason = (
        f"Right in {percent(of_longer.mean())} where the longer response is the better one ({len(of_longer):,} pairs), "
        f"in {percent(of_shorter.mean())} where the shorter one is ({len(of_shorter):,} pairs)"
    )
    gap, interval = float(of_longer.mean() - of_shorter.mean()), difference_interval(of_longer, of_shorter)
    told = f"{reason}: a difference of {100 * gap:+.1f} points (95 % interval {signed_span(interval)})."
    return close_to_zero(DEPENDENCE, gap, interval, told, f"no, it favours {'long' if gap > 0 else 'short'} responses")


def longer_and_shorter(evaluation: Evaluation) -> tuple[Booleans, Booleans]:
    """[P] whether the chosen response is the longer one; the shorter one. Neither where both are equally long."""
    chosen, rejected = evaluation.lengths().T
    return chosen > rejected, chosen < rejected


def accuracy_interval(evaluation: Evaluation) -> Interval | None:
    """The evaluation's own interval, or one over the pairs."""
    for key in ("interval", "accuracy_interval"):
        if interval := evaluation.summary.get(key):
            return tuple(interval)
    if evaluation.is_of_pairs and evaluation.pairs:
        return evaluation.interval((evaluation.margins() > 0).astype(float))
    return None


QUESTIONS: Mapping[str, Callable[[Evaluation], Finding]] = {
    CHANCE: beats_chance,
    LENGTH: beats_length,
    CALIBRATION: is_calibrated,
    DEPENDENCE: depends_on_length,
}
