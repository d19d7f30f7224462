"""Accuracy of a reward model on preference pairs, beside what the length of the responses alone would reach."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemo_hs2pref.data.records import PreferencePair
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.scores import require_scores
from nemo_hs2pref.evaluation.statistics import CONFIDENCE, RESAMPLES, SEED, bootstrap_interval, pearson


@dataclass(frozen=True)
class StrengthReport:
    """The pairs of one strength."""

    pairs: int
    accuracy: float


@dataclass(frozen=True)
class PreferenceReport:
    """What one set of scores says about one set of pairs; shares are 0 to 1, lengths are characters."""

    pairs: int  # without those of strength 0, in which neither side was preferred
    left_out: int  # pairs of strength 0
    accuracy: float  # share of pairs in which the chosen response has the higher reward; a tie is a loss
    interval: tuple[float, float]
    ties: int
    length_only_accuracy: (
        float  # share in which the chosen response is the longer one; equal length is a loss, as above
    )
    length_only_interval: tuple[float, float]
    equal_lengths: int
    by_strength: dict[str, StrengthReport]  # "1", "2", "3", where they occur; pairs without a strength are in none
    mean_margin: float  # of chosen minus rejected reward
    reward_length_correlation: float | None  # Pearson, over all responses; None where one of the two is constant

    def to_json(self) -> dict[str, Any]:
        settings = {"method": "percentile bootstrap over pairs", "confidence": CONFIDENCE}
        return {**asdict(self), "intervals": {**settings, "resamples": RESAMPLES, "seed": SEED}}

    def table(self) -> str:
        """A few lines for the terminal."""
        lines = [
            f"{'pairs':<28}{self.pairs:>7}",
            _line("accuracy", self.accuracy, self.interval),
            _line("longer response wins", self.length_only_accuracy, self.length_only_interval),
        ]
        for strength, group in self.by_strength.items():
            lines.append(f"{_line(f'accuracy, strength {strength}', group.accuracy)}  of {group.pairs}")
        lines.append(f"{'mean reward margin':<28}{self.mean_margin:>7.3f}")
        if self.reward_length_correlation is not None:
            lines.append(f"{'correlation with length':<28}{self.reward_length_correlation:>7.3f}")
        return "\n".join(lines)


def evaluate_pairs(pairs: Sequence[PreferencePair], scores: Mapping[str, float]) -> PreferenceReport:
    """Compare the rewards of both sides of every pair.

    Args:
        pairs: at least one.
        scores: id -> reward, with "<id>:chosen" and "<id>:rejected" for every pair and nothing else.

    Raises:
        DataError: no pairs, or scores that are missing, left over or not finite.
    """
    require_scores(pairs, scores)
    given, pairs = len(pairs), decided(pairs)
    rewards = rewards_of(pairs, scores)
    lengths = np.array([[len(pair.chosen), len(pair.rejected)] for pair in pairs])
    wins, longer = rewards[:, 0] > rewards[:, 1], lengths[:, 0] > lengths[:, 1]
    return PreferenceReport(
        pairs=len(pairs),
        left_out=given - len(pairs),
        accuracy=float(wins.mean()),
        interval=bootstrap_interval(wins),
        ties=int((rewards[:, 0] == rewards[:, 1]).sum()),
        length_only_accuracy=float(longer.mean()),
        length_only_interval=bootstrap_interval(longer),
        equal_lengths=int((lengths[:, 0] == lengths[:, 1]).sum()),
        by_strength=_by_strength(pairs, wins),
        mean_margin=float((rewards[:, 0] - rewards[:, 1]).mean()),
        reward_length_correlation=pearson(rewards.ravel(), lengths.ravel()),
    )


def chosen_wins(pairs: Sequence[PreferencePair], scores: Mapping[str, float]) -> NDArray[np.bool_]:
    """[P] whether the chosen side has the higher reward, for every pair that is no tie; raises as evaluate_pairs."""
    require_scores(pairs, scores)
    rewards = rewards_of(decided(pairs), scores)
    return rewards[:, 0] > rewards[:, 1]


def decided(pairs: Sequence[PreferencePair]) -> list[PreferencePair]:
    """The pairs in which a side was preferred; DataError where there is none."""
    kept = [pair for pair in pairs if pair.strength != 0]
    if not kept:
        raise DataError(f"no pairs to evaluate among {len(pairs)} rows; expected at least one with a preferred side")
    return kept


def rewards_of(pairs: Sequence[PreferencePair], scores: Mapping[str, float]) -> NDArray[np.float64]:
    """[P, 2] rewards of the chosen and the rejected side."""
    return np.array([[scores[side.id] for side in pair.conversations()] for pair in pairs])


def _by_strength(pairs: Sequence[PreferencePair], wins: NDArray[np.bool_]) -> dict[str, StrengthReport]:
    strengths = np.array([pair.strength or 0 for pair in pairs])
    groups = {str(strength): wins[strengths == strength] for strength in (1, 2, 3)}
    return {name: StrengthReport(len(group), float(group.mean())) for name, group in groups.items() if len(group)}


def _line(name: str, share: float, interval: tuple[float, float] | None = None) -> str:
    text = f"{name:<28}{share:>7.1%}"
    return text if interval is None else f"{text}  [{interval[0]:.1%}, {interval[1]:.1%}]"
