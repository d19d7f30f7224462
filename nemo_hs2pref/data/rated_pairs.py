"""Preference pairs that carry the ratings of their two responses, for objectives that use both on one pair."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from nemo_hs2pref.data.records import Message, PreferencePair, RatedResponse

Text = tuple[tuple[Message, ...], str]  # prompt, response


def add_ratings(pairs: Iterable[PreferencePair], rated: Iterable[RatedResponse]) -> list[PreferencePair]:
    """The same pairs, with ratings where both responses were rated.

    HelpSteer2 publishes ratings and preferences of the same responses in separate files without a common id, so
    that the text of prompt and response is what joins them. A response that was rated twice keeps its ratings where
    they agree; where they differ nothing says which is right, and it counts as not rated (ours; the papers are silent).

    Args:
        pairs: in any order, which stays.
        rated: of the same split; another split's ratings would let validation data into training.
    """
    ratings = _ratings_by_text(rated)

    def with_ratings(pair: PreferencePair) -> PreferencePair:
        chosen, rejected = ratings.get((pair.prompt, pair.chosen)), ratings.get((pair.prompt, pair.rejected))
        if not chosen or not rejected:
            return pair
        return replace(pair, chosen_attributes=chosen, rejected_attributes=rejected)

    return [with_ratings(pair) for pair in pairs]


def _ratings_by_text(rated: Iterable[RatedResponse]) -> dict[Text, Mapping[str, float]]:
    """Ratings of every rated text; empty where two ratings of it differ."""
    ratings: dict[Text, Mapping[str, float]] = {}
    for response in rated:
        text = (response.messages[:-1], response.messages[-1].content)
        if ratings.setdefault(text, response.attributes) != response.attributes:
            ratings[text] = {}
    return ratings
