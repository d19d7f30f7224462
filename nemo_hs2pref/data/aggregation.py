"""From a panel of annotators to one preference or one set of ratings.

Both papers keep the three annotations of a task that are most similar, average them and round to the nearest
integer; a task is dropped when even those three spread over more than 2 (arXiv 2406.08673 for ratings, 2410.01257 for
preferences). Similarity is the range of the three: for three numbers the sum of their distances is twice the range.
What the papers leave open, and what is done about it, stands at each function.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from nemo_hs2pref.data.groups import Panel
from nemo_hs2pref.data.records import ATTRIBUTES
from nemo_hs2pref.errors import DataError

UNUSABLE = -100  # preferences: "neither response is valid"; ratings: not given
MAX_SPREAD = 2

Triple = tuple[int, int, int]
ReasonToDrop = Literal["too_few_annotations", "disagreement"]


@dataclass(frozen=True)
class AggregatedPreference:
    """The overall preference of a panel."""

    strength: int  # -3..3 without 0; above 0 response 2 is better
    indices: Triple  # which three annotations it was made of, ascending


def aggregate_preference(strengths: Sequence[int]) -> AggregatedPreference | None:
    """The rounded mean of the three most similar preferences, or None where the task is dropped.

    Dropped: fewer than three usable annotations, a spread above 2 within the three, an overall preference of 0.
    -100 is taken out before the three are chosen.

    Args:
        strengths: one number an annotator, -3 (response 1 much better) to 3 (response 2 much better), or -100.

    Raises:
        DataError: another number, with its position.

    >>> aggregate_preference([-3, -1, 1, -2, -1])
    AggregatedPreference(strength=-1, indices=(1, 3, 4))
    """
    _require_range("preference", strengths, -3, 3)
    triple = most_similar_preferences(strengths)
    if triple is None or reason_to_drop(strengths, triple):
        return None
    strength = rounded_mean(strengths, triple)
    return AggregatedPreference(strength, triple) if strength else None


def most_similar_preferences(strengths: Sequence[int]) -> Triple | None:
    """Indices of the three most similar usable preferences; None where fewer than three are usable.

    Among equally similar triples the one with the stronger mean is taken, whatever the order of the annotators:
    the released data makes [1, 2, 1, -1, 2] a 2, so (1, 2, 2) and not (1, 1, 2). That is the only released panel
    known to us that decides it, and "the larger mean" would explain it as well; "the stronger" treats both
    responses alike. Equally strong triples of opposite sign, such as (-1, -1, 1) and (-1, 1, 1), round to 0 both.
    """
    usable = [index for index, strength in enumerate(strengths) if strength != UNUSABLE]

    def preference_order(triple: Triple) -> tuple[int, int, int]:
        total = _total(strengths, triple)
        return _spread(strengths, triple), -abs(total), -total

    return min(combinations(usable, 3), key=preference_order, default=None)


def aggregate_ratings(panel: Mapping[str, Sequence[int]]) -> dict[str, int] | None:
    """Each attribute's rounded mean over the three annotators who agree most, or None where the task is dropped.

    Dropped: fewer than three annotators with all ratings, a helpfulness spread above 2 within the three. All
    attributes use the same three annotators.

    Args:
        panel: attribute -> one rating (0 to 4, or -100 for none) an annotator, annotators in the same order; with
            "helpfulness".

    Raises:
        DataError: no helpfulness, unequally many ratings, an unknown attribute, or another number.
    """
    attributes = _checked_attributes(panel)
    triple = most_similar_ratings(panel)
    if triple is None or reason_to_drop(panel["helpfulness"], triple):
        return None
    return {name: rounded_mean(panel[name], triple) for name in attributes}


def most_similar_ratings(panel: Mapping[str, Sequence[int]]) -> Triple | None:
    """Indices of the three annotators who agree most; None where fewer than three gave all ratings.

    Agreement is measured on helpfulness, the attribute by which the paper asks for more annotators and drops tasks.
    Among equally similar triples the one closest over all attributes is taken, then the one with the higher
    ratings in the order of ATTRIBUTES: ours, the paper is silent.
    """
    columns = [panel[name] for name in ATTRIBUTES if name in panel]
    usable = [index for index in range(len(columns[0])) if all(column[index] != UNUSABLE for column in columns)]

    def preference_order(triple: Triple) -> tuple[int, int, list[int]]:
        spread_of_all = sum(_spread(column, triple) for column in columns)
        return _spread(panel["helpfulness"], triple), spread_of_all, [-_total(column, triple) for column in columns]

    return min(combinations(usable, 3), key=preference_order, default=None)


def agreeing_annotators(
    responses: Sequence[Mapping[str, Sequence[int]]],
) -> tuple[list[Triple | None], ReasonToDrop | None]:
    """Of each response of a task the three who agree most, and why the task's ratings are dropped, if they are.

    The paper drops all responses of a task where the annotators of one disagree; then there is no triple of any.
    """
    triples = [most_similar_ratings(panel) for panel in responses]
    for panel, triple in zip(responses, triples, strict=True):
        reason = reason_to_drop(panel["helpfulness"], triple)
        if reason is not None:
            return [None] * len(triples), reason
    return triples, None


def reason_to_drop(values: Sequence[int], triple: Triple | None) -> ReasonToDrop | None:
    """Why a task is dropped for the three annotations that were chosen, if it is.

    Args:
        values: preferences, or ratings of helpfulness.
        triple: which three of them are most similar; None where there are no three.
    """
    if triple is None:
        return "too_few_annotations"
    return "disagreement" if _spread(values, triple) > MAX_SPREAD else None


def rounded_mean(values: Sequence[int], triple: Triple) -> int:
    """Mean of three annotations, rounded to the nearest integer: thirds are never halves."""
    return round(_total(values, triple) / 3)


def preference_panel(strengths: Sequence[int], released: int | None = None) -> Panel:
    """The panel of a task's preferences; `released` is what a release made of them, 0 included."""
    triple = most_similar_preferences(strengths)
    return panel_of("preference", strengths, None if reason_to_drop(strengths, triple) else triple, released)


def panel_of(question: str, values: Sequence[int], triple: Triple | None, released: int | None = None) -> Panel:
    """What was said to one question; `triple` is None where no three agree, for an attribute on helpfulness."""
    if triple is None:
        return Panel(question, tuple(values), None, None, released)
    kept = tuple(values[index] for index in triple)
    return Panel(question, tuple(values), kept, rounded_mean(values, triple), released)


def _checked_attributes(panel: Mapping[str, Sequence[int]]) -> list[str]:
    """The panel's attributes in the order of ATTRIBUTES."""
    if "helpfulness" not in panel:
        raise DataError(f'panel has no "helpfulness", only {", ".join(panel) or "nothing"}')
    for name, ratings in panel.items():
        if name not in ATTRIBUTES:
            raise DataError(f"panel has the unknown attribute {name!r}; the attributes are {', '.join(ATTRIBUTES)}")
        if len(ratings) != len(panel["helpfulness"]):
            raise DataError(
                f"panel has {len(ratings)} ratings of {name} and {len(panel['helpfulness'])} of helpfulness; "
                "each annotator gives one of each"
            )
        _require_range(name, ratings, 0, 4)
    return [name for name in ATTRIBUTES if name in panel]


def _require_range(name: str, values: Sequence[int], low: int, high: int) -> None:
    for position, value in enumerate(values):
        if value != UNUSABLE and value not in range(low, high + 1):
            raise DataError(f"{name}[{position}] is {value!r}; expected an integer {low} to {high}, or {UNUSABLE}")


def _spread(values: Sequence[int], triple: Triple) -> int:
    chosen = [values[index] for index in triple]
    return max(chosen) - min(chosen)


def _total(values: Sequence[int], triple: Triple) -> int:
    return sum(values[index] for index in triple)
