"""Preference pairs that carry the ratings of their two responses, for objectives that use both on one pair.

HelpSteer2 publishes ratings and preferences of the same responses in separate files without a common id, so that the
text of prompt and response is what joins them. A response that was rated twice keeps its ratings where they agree;
where they differ nothing says which is right, and it counts as not rated (ours; the papers are silent).
"""

from dataclasses import replace

from nemo_hs2pref.data.groups import Kept, Split
from nemo_hs2pref.data.reading.scratch import Scratch
from nemo_hs2pref.data.records import PreferencePair


def remember(found: Kept, scratch: Scratch) -> Kept:
    """Keep the ratings of rated responses for the pairs of the same split, in which they come back."""
    for response in found.records:
        if not isinstance(response, PreferencePair):
            scratch.rate(found.split, response.messages, response.attributes)
    return found


def with_ratings(pair: PreferencePair, split: Split, scratch: Scratch) -> PreferencePair:
    """The same pair, with ratings where both responses were rated.

    Only those of its own split: another's would let validation data into training.
    """
    chosen, rejected = (scratch.ratings(split, side.messages) for side in pair.conversations())
    if not chosen or not rejected:
        return pair
    return replace(pair, chosen_attributes=chosen, rejected_attributes=rejected)
