"""What a reader makes of a data set's rows, one thing after the other, whichever their format.

A reader is a generator of `Found`: what is kept, what is dropped and why, and what the annotators said. It holds no
more than one task at a time, so that memory does not grow with the input.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

from nemo_hs2pref.data.records import PreferencePair, RatedResponse

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = get_args(Split)
Kind = Literal["ratings", "pairs"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Record = RatedResponse | PreferencePair


@dataclass(frozen=True)
class Kept:
    """Records that stay together when rows are shuffled: the rated responses of one prompt, or one pair."""

    kind: Kind
    split: Split
    records: tuple[Record, ...]
    where: str = field(default="", compare=False)  # file:line, of a pair


@dataclass(frozen=True)
class Dropped:
    """A row of the right form that nothing can be trained on."""

    kind: Kind
    split: Split
    reason: str  # a word of the format's list, such as tie
    where: str  # file:line
    id: str = ""


@dataclass(frozen=True)
class Panel:
    """What the annotators of one task said to one question, kept or not."""

    question: str  # "preference", or an attribute
    values: tuple[int, ...]  # [N] one an annotator, -100 for none
    kept: tuple[int, ...] | None  # those that were averaged; None where no three of the task agree
    result: int | None  # what aggregation makes of them, a preference of 0 included; None as above
    released: int | None = None  # what the release says, where it says


Found = Kept | Dropped | Panel
