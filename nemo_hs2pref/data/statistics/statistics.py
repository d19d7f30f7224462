"""What a data set says as a whole, counted while it streams by: ratings, preferences, and how far annotators agree.

Counts and sums alone are kept, so that memory does not grow with the input. What cannot be computed, for want of rows
or of variance, is None. The table with the paper's figures beside ours is in data/statistics/table.py.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from nemo_hs2pref.data.groups import Dropped, Found, Panel
from nemo_hs2pref.data.records import ATTRIBUTES, PreferencePair, RatedResponse
from nemo_hs2pref.data.statistics.agreement import Agreement
from nemo_hs2pref.data.statistics.sums import Sums

LENGTHS = ("turns_in_prompt", "prompt_characters", "response_characters")
STRENGTHS = (-3, -2, -1, 1, 2, 3)  # signed: above 0 response 2 is better


class Statistics:
    """Statistics of all that a reader finds, both splits together, as in the papers."""

    def __init__(self) -> None:
        self._ratings, self._pairs, self._agreement = _Ratings(), _Pairs(), Agreement()

    def add(self, found: Found) -> None:
        """Count one thing that was found."""
        if isinstance(found, Panel):
            self._agreement.add(found)
        elif isinstance(found, Dropped):
            self._pairs.ties += found.reason == "tie"
        else:
            for record in found.records:
                self._pairs.add(record) if isinstance(record, PreferencePair) else self._ratings.add(record)

    def to_json(self) -> dict[str, Any]:
        """{"ratings", "preferences", "agreement"}, as each of their classes says."""
        return {
            "ratings": self._ratings.to_json(),
            "preferences": self._pairs.to_json(),
            "agreement": self._agreement.to_json(),
        }


class _Ratings:
    """Rated responses: each attribute and length by itself and with helpfulness, and how often each rating occurs."""

    def __init__(self) -> None:
        self.responses = 0
        self.alone: defaultdict[str, Sums] = defaultdict(Sums)
        self.with_helpfulness: defaultdict[str, Sums] = defaultdict(Sums)
        self.counts: Counter[tuple[str, float]] = Counter()

    def add(self, response: RatedResponse) -> None:
        self.responses += 1
        self.counts.update((name, round(value, 2)) for name, value in response.attributes.items())
        helpfulness = response.attributes.get("helpfulness")
        for name, value in {**response.attributes, **lengths(response)}.items():
            self.alone[name].add(value)
            if helpfulness is not None:
                self.with_helpfulness[name].add(value, helpfulness)

    def to_json(self) -> dict[str, Any]:
        """Attributes have "counts" too; "pearson" is with helpfulness.

        {"responses": n, "fields": {name: {"mean", "std", "pearson", "counts": {rating: n}}}}
        """
        names = [name for name in (*ATTRIBUTES, *LENGTHS) if name in self.alone]
        return {"responses": self.responses, "fields": {name: self._field(name) for name in names}}

    def _field(self, name: str) -> dict[str, Any]:
        alone, counts = self.alone[name], {rating: n for (of, rating), n in self.counts.items() if of == name}
        field = {"mean": alone.mean, "std": alone.std, "pearson": self.with_helpfulness[name].pearson}
        return field | ({"counts": _json_counts(counts.items())} if counts else {})


def lengths(response: RatedResponse) -> dict[str, int]:
    """What the paper correlates with helpfulness besides the attributes.

    Turns are the messages of the prompt, characters those of its messages without markers. The paper does not say
    how it counts; of 2,000 HelpSteer2 prompts the messages (2.3 in the mean) are nearer to its 2.83 than the user's
    messages alone (1.7).
    """
    *prompt, last = response.messages
    values = (len(prompt), sum(len(message.content) for message in prompt), len(last.content))
    return dict(zip(LENGTHS, values, strict=True))


class _Pairs:
    """Preference pairs. Their signed strength is known where it and the position of the chosen response are."""

    def __init__(self) -> None:
        self.pairs = self.ties = 0
        # (signed strength, helpfulness of response 2 less that of response 1, or None where they were not rated)
        self.counts: Counter[tuple[int, float | None]] = Counter()
        self.unsigned: Counter[int] = Counter()  # strengths of pairs whose position is not known

    def add(self, pair: PreferencePair) -> None:
        if pair.strength == 0:
            self.ties += 1
            return
        self.pairs += 1
        if pair.strength is not None and pair.chosen_position is not None:
            sign = 1 if pair.chosen_position == 2 else -1
            gap = _helpfulness_gap(pair)
            self.counts[sign * pair.strength, None if gap is None else round(sign * gap, 2)] += 1
        elif pair.strength is not None:
            self.unsigned[pair.strength] += 1

    def to_json(self) -> dict[str, Any]:
        """The distribution of strengths with its position bias, and the same pairs by the ratings of helpfulness.

        Ratings are counted in steps of 0.01, so that memory stays flat for those of machines too.

        {"pairs": n, "ties": n more, counted nowhere else, "strengths": {"-3": n, ...},
         "strengths_without_position": {"1": n, ...}, "mean_strength",
         "share_for_response_2", "rated_pairs": n, "mean_difference", "pearson": of strength and difference,
         "by_strength": {"-3": {"mean_difference", "counts": {difference: n}}, ...}}
        """
        strengths: dict[int, int] = {strength: 0 for strength in STRENGTHS}
        differences: dict[int, dict[float, int]] = {strength: {} for strength in STRENGTHS}
        for (strength, difference), count in self.counts.items():
            strengths[strength] += count
            if difference is not None:
                differences[strength][difference] = count
        known = sum(strengths.values())
        rated = Sums.of((x, strength, n) for strength, counts in differences.items() for x, n in counts.items())
        return {
            "pairs": self.pairs,
            "ties": self.ties,
            "strengths": _json_counts(strengths.items()),
            "strengths_without_position": _json_counts(self.unsigned.items()),
            "mean_strength": Sums.of((strength, 0, n) for strength, n in strengths.items()).mean,
            "share_for_response_2": sum(strengths[strength] for strength in (1, 2, 3)) / known if known else None,
            "rated_pairs": rated.count,
            "mean_difference": rated.mean,
            "pearson": rated.pearson,
            "by_strength": {str(strength): _differences(counts) for strength, counts in differences.items()},
        }


def _helpfulness_gap(pair: PreferencePair) -> float | None:
    """Chosen less rejected."""
    chosen, rejected = pair.chosen_attributes.get("helpfulness"), pair.rejected_attributes.get("helpfulness")
    return None if chosen is None or rejected is None else chosen - rejected


def _differences(counts: dict[float, int]) -> dict[str, Any]:
    return {
        "mean_difference": Sums.of((x, 0, n) for x, n in counts.items()).mean,
        "counts": _json_counts(counts.items()),
    }


def _json_counts(counts: Iterable[tuple[float, int]]) -> dict[str, int]:
    """In ascending order; 3 and 3.0 are "3"."""
    return {str(int(number) if number == int(number) else number): count for number, count in sorted(counts)}
