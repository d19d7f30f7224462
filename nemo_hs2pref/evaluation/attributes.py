"""How far predicted attributes are from the ratings that came with the pairs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nemo_hs2pref.data.records import ATTRIBUTES, PreferencePair
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.statistics import pearson


@dataclass(frozen=True)
class AttributeReport:
    """One attribute over the responses that were rated on it, chosen and rejected ones alike."""

    responses: int
    mse: float  # in squared points of the rating
    pearson: float | None  # None where ratings or predictions are constant


def compare_attributes(
    pairs: Sequence[PreferencePair], predicted: Mapping[str, Mapping[str, float]]
) -> dict[str, AttributeReport]:
    """The attributes that are both rated and predicted, in the order of the head's slots.

    Args:
        pairs: of any strength, as ratings are those of a response.
        predicted: id of a side -> attribute -> value.

    Raises:
        DataError: a prediction is not finite, or an attribute is predicted for a part of the responses only.
    """
    reports = {name: _compare(name, list(_rated(pairs, name)), predicted) for name in ATTRIBUTES}
    return {name: report for name, report in reports.items() if report is not None}


def _rated(pairs: Sequence[PreferencePair], name: str) -> Iterator[tuple[str, float]]:
    """(id of the side, rating)"""
    for pair in pairs:
        for side, ratings in zip(pair.conversations(), (pair.chosen_attributes, pair.rejected_attributes), strict=True):
            if name in ratings:
                yield side.id, ratings[name]


def _compare(
    name: str, rated: Sequence[tuple[str, float]], predicted: Mapping[str, Mapping[str, float]]
) -> AttributeReport | None:
    usable = [(rating, predicted[side][name]) for side, rating in rated if name in predicted.get(side, ())]
    if not usable:
        return None
    finite = sum(math.isfinite(prediction) for _, prediction in usable)
    if finite < len(rated):
        raise DataError(
            f'"{name}" has a finite prediction for {finite} of the {len(rated)} responses rated on it; '
            "score exactly this file of pairs again with one model"
        )
    ratings, predictions = np.array(usable).T
    return AttributeReport(len(usable), float(np.square(predictions - ratings).mean()), pearson(predictions, ratings))
