"""A stand-in for the model of the commands that score."""

from collections.abc import Callable, Sequence
from typing import Any

from nemo_hs2pref.data.records import Conversation
from nemo_hs2pref.evaluation.scores import Score


class StandIn:
    """Scores by `reward`; its one attribute, verbosity, is -2 times the reward. Remembers what it was asked."""

    def __init__(self, reward: Callable[[Conversation], float]) -> None:
        self.reward = reward
        self.attributes = ["verbosity"]
        self.opened: list[Any] = []  # paths
        self.asked: list[Sequence[Conversation]] = []

    def open(self, path: Any, *_: Any) -> "StandIn":
        """In the place of runtime.scoring.open_scorer."""
        self.opened.append(path)
        return self

    def score(self, conversations: Sequence[Conversation]) -> list[Score]:
        self.asked.append(conversations)
        return [Score(row.id, self.reward(row), {"verbosity": -2 * self.reward(row)}) for row in conversations]

    def discard_partial(self) -> None:
        pass
