"""Whole tensors to and from a torch_dist folder, for models that are small enough for memory."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from nemo_hs2pref.checkpoint.torch_dist.pieces import pieces_of
from nemo_hs2pref.checkpoint.torch_dist.reading import StoredTensors
from nemo_hs2pref.checkpoint.torch_dist.writing import write_distributed


def read_tensors(folder: Path, names: Iterable[str] | None = None) -> dict[str, Tensor]:
    """The named tensors, or all."""
    stored = StoredTensors(folder)
    return {name: stored.read(name) for name in (stored.entries if names is None else names)}


def write_tensors(tensors: Mapping[str, Tensor], folder: Path, num_layers: int) -> None:
    entries = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    pieces = pieces_of(entries, lambda name, layer: tensors[name] if layer is None else tensors[name][layer])
    write_distributed(list(pieces), folder, num_layers)
