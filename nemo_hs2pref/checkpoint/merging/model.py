"""A model that can be merged with others: read and written a tensor at a time, or a layer of one.

`settings` must be equal in all models that are merged: equal shapes can still mean other things, another head order or
another template.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from math import prod
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from nemo_hs2pref.checkpoint.pushed import Pushed


class Model(Protocol):
    """entries: name -> (shape, dtype). read(name, layer): `layer` only where the first axis is the layer."""

    path: Path
    kind: str
    settings: Mapping[str, Any]
    entries: Mapping[str, tuple[tuple[int, ...], torch.dtype]]

    def read(self, name: str, layer: int | None) -> Tensor: ...

    def parts(self) -> list[tuple[str, int | None]]:
        """What is read and written at once, in the order of the files: (name, layer)."""
        ...

    def writer(self, out: Path, about: Mapping[str, Any]) -> AbstractContextManager[Pushed]:
        """Takes the tensors of parts(); `out` gets this model's configuration and tokenizer, and a name at the end."""
        ...


def size_bytes(model: Model) -> int:
    return sum(prod(shape) * dtype.itemsize for shape, dtype in model.entries.values())
