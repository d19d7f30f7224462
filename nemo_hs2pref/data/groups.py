"""What preparation makes of a data set's tables, whichever their format."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, get_args

from nemo_hs2pref.data.records import PreferencePair, RatedResponse

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = get_args(Split)
Record = RatedResponse | PreferencePair
Groups = tuple[Sequence[Sequence[Record]], Counter[str]]  # records that stay together, and rows dropped by reason
Outputs = dict[str, Groups]  # name of an output file -> what it is made of, in the order of the source
