"""One prompt of RewardBench 2 with all its completions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.records import Conversation, Message, PreferencePair
from nemo_hs2pref.errors import DataError

# Domain -> prompts of the release (1,865 together; the paper's Table 1).
DOMAINS: Mapping[str, int] = {
    "Factuality": 475,
    "Precise IF": 160,
    "Math": 183,
    "Safety": 450,
    "Focus": 495,
    "Ties": 102,
}
TIES = "Ties"
TIES_ID = re.compile(r"(?:.*/)?(?P<kind>ref|tied):(?P<number>\d+)")  # a prefix makes ids unique among all domains


@dataclass(frozen=True)
class Item:
    """A prompt, its correct completions and its wrong ones, of each at least one.

    In Ties a prompt "ref:N" with one correct completion belongs to a prompt "tied:N" with several equally correct
    ones; elsewhere exactly one is correct. DataError where that does not hold.
    """

    id: str
    prompt: tuple[Message, ...]
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    subset: str  # one of DOMAINS

    def __post_init__(self) -> None:
        if self.subset not in DOMAINS:
            raise DataError(f"unknown subset {self.subset!r}; expected one of {', '.join(DOMAINS)}")
        if not self.rejected:
            raise DataError('"rejected" is empty; expected at least one wrong completion')
        many = self.subset == TIES and self.ties_id[0] == "tied"
        if len(self.chosen) < 2 if many else len(self.chosen) != 1:
            expected = "two or more" if many else "one"
            raise DataError(f'"chosen" has {len(self.chosen)} completions; expected {expected} ({self.subset})')

    @property
    def ties_id(self) -> tuple[str, int]:
        """("ref" or "tied", N) of an item of Ties."""
        found = TIES_ID.fullmatch(self.id)
        if found is None:
            raise DataError(f'"id" is {self.id!r}; expected "ref:N" or "tied:N", as {TIES} has')
        return found["kind"], int(found["number"])

    def conversations(self) -> tuple[Conversation, ...]:
        """All completions, the correct ones first, with the ids that join them to their scores."""
        sides = {"chosen": self.chosen, "rejected": self.rejected}
        return tuple(
            Conversation(f"{self.id}:{side}:{number}", (*self.prompt, Message("assistant", completion)))
            for side, completions in sides.items()
            for number, completion in enumerate(completions)
        )

    def split(self, values: Mapping[str, float]) -> tuple[list[float], list[float]]:
        """The values of the correct and of the wrong completions; `values` are by the ids of `conversations`."""
        of_all = [values[completion.id] for completion in self.conversations()]
        return of_all[: len(self.chosen)], of_all[len(self.chosen) :]


class ScoredPair(NamedTuple):
    """The row of scored_pairs.jsonl that stands for an item."""

    pair: PreferencePair
    chosen_reward: float
    rejected_reward: float

    def to_json(self) -> Row:
        return {**self.pair.to_json(), "chosen_reward": self.chosen_reward, "rejected_reward": self.rejected_reward}


def scored_pair(item: Item, rewards: Mapping[str, float]) -> ScoredPair:
    """The correct completion with the lowest reward against the wrong one with the highest."""
    correct, wrong = item.split(rewards)
    low, high = min(correct), max(wrong)
    chosen, rejected = item.chosen[correct.index(low)], item.rejected[wrong.index(high)]
    return ScoredPair(PreferencePair(item.id, item.prompt, chosen, rejected, subset=item.subset), low, high)
