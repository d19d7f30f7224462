"""What a model's rewards are worth on RewardBench 2, beside what the length of the completions alone would reach."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.benchmark import Count, gaps, unofficial_counts
from nemo_hs2pref.evaluation.rewardbench2.items import DOMAINS, TIES, Item
from nemo_hs2pref.evaluation.rewardbench2.ties import TiesScore, ties_score
from nemo_hs2pref.evaluation.scores import require_scores
from nemo_hs2pref.evaluation.statistics import INTERVALS, bootstrap_interval, too_narrow

OVERALL = "Overall"


@dataclass(frozen=True)
class DomainReport:
    """The prompts of one domain; scores are 0 to 1 (Ties: up to 1.01)."""

    prompts: int
    score: float
    interval: tuple[float, float] | None  # None for Ties, whose score is no mean over prompts
    length_only_score: float  # the same rule, with the number of characters for the reward
    shorter_only_score: float  # the same rule, with fewer characters for a higher reward


@dataclass(frozen=True)
class RewardBench2Report:
    """Scores by domain, and what stands behind them. A pair is a correct with a wrong completion of one prompt."""

    prompts: int
    pairs: int
    accuracy: float  # share of all pairs in which the correct completion has the higher reward; a tie is a loss
    length_only_accuracy: float
    shorter_only_accuracy: float
    ties: int  # pairs with equal rewards
    empty_responses: int  # they are scored like others
    domains: dict[str, DomainReport]
    overall: float | None  # the plain mean of the six domains; None where one is not scored
    length_only_overall: float | None
    shorter_only_overall: float | None
    ties_terms: TiesScore | None
    incomplete: dict[str, list[str]]  # what is not scored -> what it lacks
    unofficial_counts: dict[str, Count]  # domain -> prompts, where they are not as many as were released

    def to_json(self) -> dict[str, Any]:
        method = "percentile bootstrap over the prompts of a domain"
        return {**asdict(self), "intervals": {"method": method, **INTERVALS}}

    def table(self) -> str:
        """For the terminal, in per cent."""
        lines = [
            f"{'domain':<24}{'prompts':>8}{'score':>10}{'95 % interval':>18}{'longer wins':>13}{'shorter wins':>14}"
        ]
        for name, domain in self.domains.items():
            interval = "" if domain.interval is None else "[{:.1%}, {:.1%}]".format(*domain.interval)
            lines.append(
                f"{name:<24}{domain.prompts:>8}{domain.score:>10.1%}{interval:>18}"
                f"{domain.length_only_score:>13.1%}{domain.shorter_only_score:>14.1%}"
            )
        whole = self.overall, self.length_only_overall, self.shorter_only_overall
        rows = {OVERALL: (self.prompts, *whole)} if None not in whole else {}
        single = self.pairs, self.accuracy, self.length_only_accuracy, self.shorter_only_accuracy
        for name, (count, score, longer, shorter) in {**rows, "single comparisons": single}.items():
            lines.append(f"{name:<24}{count:>8}{score:>10.1%}{longer:>31.1%}{shorter:>14.1%}")
        few = too_narrow({name: domain.prompts for name, domain in self.domains.items() if domain.interval})
        return "\n".join([*lines, *few, *gaps(self.incomplete, self.unofficial_counts)])


def evaluate_rewardbench2(items: Sequence[Item], rewards: Mapping[str, float]) -> RewardBench2Report:
    """Rank the completions of every prompt by their rewards, domain by domain.

    Args:
        items: at least one.
        rewards: id -> reward, with the ids of all items' `conversations` and nothing else.

    Raises:
        DataError: no items, or rewards that are missing, left over or not finite.
    """
    if not items:
        raise DataError("no prompts to evaluate; expected at least one")
    require_scores(items, rewards)
    lengths = {text.id: float(len(text.messages[-1].content)) for item in items for text in item.conversations()}
    margins, length_margins = _margins(items, rewards), _margins(items, lengths)
    groups = {name: [item for item in items if item.subset == name] for name in DOMAINS}
    reports = {name: _domain_report(name, group, rewards, lengths) for name, group in groups.items() if group}
    domains = {name: report for name, report in reports.items() if report is not None}
    return RewardBench2Report(
        prompts=len(items),
        pairs=len(margins),
        accuracy=float((margins > 0).mean()),
        length_only_accuracy=float((length_margins > 0).mean()),
        shorter_only_accuracy=float((length_margins < 0).mean()),
        ties=int((margins == 0).sum()),
        empty_responses=sum(not length for length in lengths.values()),
        domains=domains,
        overall=_overall({name: domain.score for name, domain in domains.items()}),
        length_only_overall=_overall({name: domain.length_only_score for name, domain in domains.items()}),
        shorter_only_overall=_overall({name: domain.shorter_only_score for name, domain in domains.items()}),
        ties_terms=ties_score(groups[TIES], rewards),
        incomplete=_incomplete(groups, domains),
        unofficial_counts=unofficial_counts({name: len(group) for name, group in groups.items() if group}, DOMAINS),
    )


def best_of(item: Item, values: Mapping[str, float]) -> float:
    """Whether the one correct completion is on top: 1, or its share where several are, or 0.

    The rule of allenai/reward-bench (reroll_and_score_dataset, commit 05a9005e): a model that cannot tell the
    completions apart gets what chance would.
    """
    (correct,), wrong = item.split(values)
    return 1 / (1 + wrong.count(correct)) if correct >= max(wrong) else 0.0


def _domain_report(
    name: str, items: Sequence[Item], rewards: Mapping[str, float], lengths: Mapping[str, float]
) -> DomainReport | None:
    """None for Ties without a reference prompt that has its tied prompt."""
    brevity = {name: -length for name, length in lengths.items()}
    if name == TIES:
        terms, longer, shorter = (ties_score(items, values) for values in (rewards, lengths, brevity))
        return terms and longer and shorter and DomainReport(len(items), terms.score, None, longer.score, shorter.score)
    credits, longer, shorter = (
        np.array([best_of(item, values) for item in items]) for values in (rewards, lengths, brevity)
    )
    by_length = float(longer.mean()), float(shorter.mean())
    return DomainReport(len(items), float(credits.mean()), bootstrap_interval(credits), *by_length)


def _margins(items: Sequence[Item], values: Mapping[str, float]) -> NDArray[np.float64]:
    """[pairs] of every correct minus every wrong completion of the same prompt."""
    splits = (item.split(values) for item in items)
    return np.concatenate([np.subtract.outer(correct, wrong).ravel() for correct, wrong in splits])


def _overall(scores: Mapping[str, float]) -> float | None:
    return sum(scores.values()) / len(DOMAINS) if scores.keys() == DOMAINS.keys() else None


def _incomplete(groups: Mapping[str, Sequence[Item]], scored: Mapping[str, DomainReport]) -> dict[str, list[str]]:
    incomplete: dict[str, list[str]] = {}
    if groups[TIES] and TIES not in scored:
        incomplete[TIES] = ["a prompt ref:N with its tied:N"]
    lacking = [name for name in DOMAINS if name not in scored]
    return {**incomplete, **({OVERALL: lacking} if lacking else {})}
