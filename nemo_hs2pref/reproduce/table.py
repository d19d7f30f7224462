"""The table: what each row reached on the held-out pairs, beside what the paper reports on RewardBench."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np

from nemo_hs2pref.data.records import PreferencePair
from nemo_hs2pref.evaluation.groups import prompt_numbers
from nemo_hs2pref.evaluation.length import better_rule
from nemo_hs2pref.evaluation.preferences import chosen_wins, decided, evaluate_pairs
from nemo_hs2pref.evaluation.published import PREFERENCE, PUBLISHED
from nemo_hs2pref.evaluation.statistics import INTERVALS, bootstrap_interval_over_seeds, too_narrow
from nemo_hs2pref.reproduce.plan import TABLE1

METHODS = {
    True: "percentile bootstrap over prompts, Student's t over seeds",
    False: "percentile bootstrap over prompts, for one seed",
}
NOTES = (
    "Ours is accuracy on held-out pairs of human preferences, by the models trained here. RewardBench and its four "
    f"sections are published ({PREFERENCE}) for Llama-3.1-70B-Instruct: another model, another training set and "
    "another measure. The two can be compared in their order at most.",
    "Regression on all attributes: the reward is helpfulness (slot 4). What the paper evaluates it by was not found.",
)


def about_intervals(seeds: int, prompts: int) -> list[str]:
    """What the intervals are of, and what they are not."""
    told = ["The 95 % interval resamples prompts, each with its pairs, which all rows share."]
    if seeds > 1:
        told[0] += f" Seeds count in it by Student's t over the {seeds} of them."
    else:
        told.append(
            "One seed says nothing about others: the interval is of the prompts alone, and the same row trained with "
            "another seed may well lie outside of it. Differences between rows need several seeds (--seeds 3)."
        )
    return [*told, *too_narrow({"": prompts})]


@dataclass(frozen=True)
class Result:
    """One row over its seeds; shares are 0 to 1."""

    by_seed: dict[int, float]  # accuracy
    accuracy: float  # mean over seeds
    interval: tuple[float, float]
    seed_deviation: float | None  # standard deviation of by_seed; None with one seed
    length_correlation: float | None  # of reward and characters, mean over seeds; None where a reward is constant


def measure(pairs: Sequence[PreferencePair], scores: Mapping[int, Mapping[str, float]]) -> Result:
    """A row from the scores of its seeds."""
    wins = np.stack([chosen_wins(pairs, by_id) for by_id in scores.values()])  # [S, P]
    by_seed = {seed: float(of_seed.mean()) for seed, of_seed in zip(scores, wins, strict=True)}
    correlations = [evaluate_pairs(pairs, by_id).reward_length_correlation for by_id in scores.values()]
    known = [value for value in correlations if value is not None]
    return Result(
        by_seed,
        accuracy=float(wins.mean()),
        interval=bootstrap_interval_over_seeds(wins, prompt_numbers([pair.prompt for pair in decided(pairs)])),
        seed_deviation=stdev(by_seed.values()) if len(by_seed) > 1 else None,
        length_correlation=fmean(known) if len(known) == len(correlations) else None,
    )


def summarise(
    pairs: Sequence[PreferencePair], scores: Mapping[str, Mapping[int, Mapping[str, float]]]
) -> dict[str, Any]:
    """OUT/table1.json: row -> its result and what is published for it.

    scores: row -> seed -> id -> reward.
    """
    report = evaluate_pairs(pairs, next(iter(next(iter(scores.values())).values())))
    _, length_alone = better_rule(report.length_only_accuracy, report.shorter_only_accuracy)
    seeds = min(map(len, scores.values()))
    rows: dict[str, Any] = {}
    for row, by_seed in scores.items():
        result = measure(pairs, by_seed)
        better = result.accuracy > length_alone
        rows[row] = {**asdict(result), "better_than_length": better, "published": asdict(PUBLISHED[row])}
    return {
        "pairs": report.pairs,
        "length_only": {"accuracy": report.length_only_accuracy, "interval": report.length_only_interval},
        "rows": rows,
        "intervals": {"method": METHODS[seeds > 1], **INTERVALS},
        "notes": [*NOTES, *about_intervals(seeds, report.prompts)],
    }


HEADER = (
    "model",
    "accuracy",
    "95 % interval",
    "by seed",
    "deviation",
    "with length",
    "RewardBench, published",
    "Chat",
    "Chat Hard",
    "Safety",
    "Reasoning",
)


def markdown(summary: Mapping[str, Any]) -> str:
    """OUT/table1.md, which is also what the terminal shows."""
    length = summary["length_only"]
    lines = [HEADER, ("longer response wins", percent(length["accuracy"]), interval(length), *[""] * 8)]
    lines += [line(row, summary["rows"][row]) for row in TABLE1 if row in summary["rows"]]
    widths = [max(len(cells[column]) for cells in lines) for column in range(len(HEADER))]
    padded = ["| " + " | ".join(map(str.ljust, cells, widths)) + " |" for cells in lines]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    title = f"Accuracy on {summary['pairs']} held-out pairs, per cent; `with length`: correlation of reward and length."
    notes = "\n".join(f"- {note}" for note in summary["notes"])
    return "\n".join([title, "", padded[0], rule, *padded[1:], "", notes]) + "\n"


def line(row: str, result: Mapping[str, Any]) -> tuple[str, ...]:
    published = PUBLISHED[row]
    deviation, correlation = result["seed_deviation"], result["length_correlation"]
    return (
        published.model + ("" if result["better_than_length"] else " (no better than length)"),
        percent(result["accuracy"]),
        interval(result),
        ", ".join(map(percent, result["by_seed"].values())),
        "" if deviation is None else percent(deviation),
        "" if correlation is None else f"{correlation:.2f}",
        *(f"{score:.1f}" for score in published.scores),
    )


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def interval(result: Mapping[str, Any]) -> str:
    return " to ".join(map(percent, result["interval"]))
