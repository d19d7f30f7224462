"""Accuracy in groups of pairs, beside what the length of the responses alone reaches in the same group."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nemo_hs2pref.data.records import PreferencePair
from nemo_hs2pref.evaluation.length import better_rule, credits_of
from nemo_hs2pref.evaluation.statistics import bootstrap_intervals

Mask = NDArray[np.bool_]  # [P], which of the pairs
SIMILAR = 0.1  # lengths that differ by at most this share of the longer one tell little about a preference for length
QUARTERS = (0.25, 0.5, 0.75)
MANY_TURNS = 4  # from here on one group


@dataclass(frozen=True)
class Group:
    """Some of the pairs; shares are 0 to 1.

    Intervals come from resampled prompts, each with its pairs: an interval has no width where all pairs agree, and
    where all are of one prompt, which says nothing about others.
    """

    pairs: int
    prompts: int  # different ones
    accuracy: float  # share of pairs in which the chosen response has the higher reward; a tie is a loss
    interval: tuple[float, float]
    length_only_accuracy: float  # share in which the chosen response is the longer one; equal length is a loss
    length_only_interval: tuple[float, float]
    shorter_only_accuracy: float  # share in which it is the shorter one; equal length is a loss here too
    shorter_only_interval: tuple[float, float]
    gain_over_length: float  # accuracy minus what the rule of length that is better on all pairs has on these
    gain_over_length_interval: tuple[float, float]


def measure_groups(
    pairs: Sequence[PreferencePair], wins: Mask, lengths: NDArray[np.int64]
) -> tuple[Group, dict[str, dict[str, Group]]]:
    """What all pairs reach, and partition -> name -> what that group does.

    All are in one bootstrap, so that groups of the same pairs have the same intervals. Pairs of one prompt are drawn
    together, but where there is only one prompt the pairs are all that can be resampled.

    Args:
        pairs: at least one.
        wins: [P] whether the chosen response has the higher reward.
        lengths: [P, 2] of the chosen and of the rejected response.
    """
    masks = {name: masks_of(pairs) for name, masks_of in PARTITIONS.items()}
    masks = {partition: {name: mask for name, mask in of.items() if mask.any()} for partition, of in masks.items()}
    every_mask = [np.ones(len(pairs), dtype=bool), *(mask for of in masks.values() for mask in of.values())]
    overall, *groups = _measure(every_mask, outcomes_of(wins, lengths), prompt_numbers([pair.prompt for pair in pairs]))
    in_order = iter(groups)
    return overall, {partition: {name: next(in_order) for name in of} for partition, of in masks.items()}


def prompt_numbers(prompts: Sequence[Hashable]) -> NDArray[np.int64]:
    """[P] the number of each pair's prompt among the different ones, from 0 in the order in which they come."""
    numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
    return np.array([numbers[prompt] for prompt in prompts])


def outcomes_of(wins: Mask, lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """[P, 4] what a group averages: wins, longer wins, shorter wins, and wins less those of the better rule of all."""
    longer, shorter = lengths[:, 0] > lengths[:, 1], lengths[:, 0] < lengths[:, 1]
    rule, _ = better_rule(float(longer.mean()), float(shorter.mean()))
    return np.stack([wins, longer, shorter, wins - credits_of(rule, lengths)], axis=1, dtype=np.float64)


def _measure(masks: Sequence[Mask], outcomes: NDArray[np.float64], prompts: NDArray[np.int64]) -> list[Group]:
    groups: list[Group] = []
    for mask, intervals in zip(masks, bootstrap_intervals(outcomes, np.stack(masks, axis=1), prompts), strict=True):
        accuracy, length_only, shorter_only, gain = outcomes[mask].mean(axis=0).tolist()
        groups.append(
            Group(
                pairs=int(mask.sum()),
                prompts=len(np.unique(prompts[mask])),
                accuracy=accuracy,
                interval=intervals[0],
                length_only_accuracy=length_only,
                length_only_interval=intervals[1],
                shorter_only_accuracy=shorter_only,
                shorter_only_interval=intervals[2],
                gain_over_length=gain,
                gain_over_length_interval=intervals[3],
            )
        )
    return groups


def lengths_of(pairs: Sequence[PreferencePair]) -> NDArray[np.int64]:
    """[P, 2] characters of the chosen and of the rejected response."""
    return np.array([[len(pair.chosen), len(pair.rejected)] for pair in pairs], dtype=np.int64)


def by_strength(pairs: Sequence[PreferencePair]) -> dict[str, Mask]:
    """Named "1", "2" and "3"; pairs without a strength are in none."""
    return {str(strength): np.array([pair.strength == strength for pair in pairs]) for strength in (1, 2, 3)}


def by_subset(pairs: Sequence[PreferencePair]) -> dict[str, Mask]:
    """Their names in the order of the alphabet; pairs without a subset are in none."""
    names = sorted({pair.subset for pair in pairs if pair.subset is not None})
    numbers = {name: number for number, name in enumerate(names)}
    of_pair = np.array([-1 if pair.subset is None else numbers[pair.subset] for pair in pairs])
    return {name: of_pair == number for name, number in numbers.items()}


def by_turns(pairs: Sequence[PreferencePair]) -> dict[str, Mask]:
    """How often the user speaks in the prompt: "1", "2", "3", "4+"."""
    turns = np.array([sum(message.role == "user" for message in pair.prompt) for pair in pairs])
    few: dict[str, Mask] = {str(number): turns == number for number in range(1, MANY_TURNS)}
    return {**few, f"{MANY_TURNS}+": turns >= MANY_TURNS}


def by_length_difference(pairs: Sequence[PreferencePair]) -> dict[str, Mask]:
    """Which response is clearly longer: a reward that follows length is right in the first group, wrong in the last.

    Length alone is right in all of the first and in none of the last, so the distance between the accuracies of the
    two shows how far the reward leans to length.
    """
    chosen, rejected = lengths_of(pairs).T
    similar = np.abs(chosen - rejected) <= SIMILAR * np.maximum(chosen, rejected)
    return {
        "chosen longer": (chosen > rejected) & ~similar,
        "similar": similar,
        "chosen shorter": (chosen < rejected) & ~similar,
    }


def by_response_length(pairs: Sequence[PreferencePair]) -> dict[str, Mask]:
    """Quarters by the longer response, in characters: whether good is told from bad where there is much to read.

    Equal lengths stay together, so the groups are equally large only where lengths differ.
    """
    longest = lengths_of(pairs).max(axis=1)
    edges = np.unique(np.quantile(longest, QUARTERS).astype(np.int64)).tolist()
    lows, highs = [0, *(edge + 1 for edge in edges)], [*edges, int(longest.max())]
    return {
        f"{low}-{high}": (low <= longest) & (longest <= high)
        for low, high in zip(lows, highs, strict=True)
        if low <= high
    }


PARTITIONS: Mapping[str, Callable[[Sequence[PreferencePair]], dict[str, Mask]]] = {
    "by_strength": by_strength,
    "by_subset": by_subset,
    "by_turns": by_turns,
    "by_length_difference": by_length_difference,
    "by_response_length": by_response_length,
}
