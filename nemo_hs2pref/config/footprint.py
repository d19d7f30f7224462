"""What a recipe's model is besides a transformer, in numbers: for `hs2pref plan`, which needs no torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Footprint:
    """Beyond embedding, layers and final norm."""

    rows: int  # of tokens, an item
    ending: tuple[tuple[str, int], ...]  # behind the final norm, name -> numbers for each of the hidden size
    ending_biases: tuple[tuple[str, int], ...] = ()  # name -> numbers
    reads_last_tokens: bool = False  # the last layer's MLP and the final norm see one token of a row
