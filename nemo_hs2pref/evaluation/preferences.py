"""How well rewards order preference pairs, beside what the length of the responses alone would reach."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nemo_hs2pref.data.records import PreferencePair
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.attributes import compare_attributes
from nemo_hs2pref.evaluation.calibration import calibrate
from nemo_hs2pref.evaluation.groups import lengths_of, measure_groups
from nemo_hs2pref.evaluation.preference_report import PreferenceReport
from nemo_hs2pref.evaluation.scores import require_scores
from nemo_hs2pref.evaluation.statistics import pearson, spearman


def evaluate_pairs(
    pairs: Sequence[PreferencePair],
    rewards: Mapping[str, float],
    attributes: Mapping[str, Mapping[str, float]] | None = None,
) -> PreferenceReport:
    """Compare the rewards of both sides of every pair.

    Args:
        pairs: at least one with a preferred side.
        rewards: id -> reward, with "<id>:chosen" and "<id>:rejected" for every pair and nothing else.
        attributes: id -> predicted attributes, to compare with the ratings of the pairs that have them.

    Raises:
        DataError: no pairs; rewards that are missing, left over or not finite; attributes that are so in part.
    """
    require_scores(pairs, rewards)
    given, agreement = len(pairs), compare_attributes(pairs, attributes or {})
    pairs = decided(pairs)
    by_side, lengths = rewards_of(pairs, rewards), lengths_of(pairs)
    margins = by_side[:, 0] - by_side[:, 1]
    overall, groups = measure_groups(pairs, by_side[:, 0] > by_side[:, 1], lengths)
    graded = [pair.strength is not None for pair in pairs]
    strengths = [pair.strength for pair in pairs if pair.strength is not None]
    return PreferenceReport(
        **vars(overall),
        left_out=given - len(pairs),
        ties=int((by_side[:, 0] == by_side[:, 1]).sum()),
        equal_lengths=int((lengths[:, 0] == lengths[:, 1]).sum()),
        by_strength=groups["by_strength"],
        by_subset=groups["by_subset"],
        by_turns=groups["by_turns"],
        by_length_difference=groups["by_length_difference"],
        by_response_length=groups["by_response_length"],
        mean_margin=float(margins.mean()),
        reward_length_correlation=pearson(by_side.ravel(), lengths.ravel()),
        margin_strength_pearson=pearson(margins[graded], strengths),
        margin_strength_spearman=spearman(margins[graded], strengths),
        calibration=calibrate(margins),
        attributes=agreement,
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
    return np.array([[scores[side.id] for side in pair.conversations()] for pair in pairs], dtype=np.float64)
