"""Whole tensors of a torch_dist folder by name, in one process, without a model."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed import checkpoint as torch_checkpoint
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from nemo_hs2pref.checkpoint.distributed import save_pieces


def stored_tensors(folder: Path) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Name -> (global shape, dtype); weights of layers have the layer as their first axis."""
    entries = torch_checkpoint.FileSystemReader(folder).read_metadata().state_dict_metadata
    return {
        name: (tuple(entry.size), entry.properties.dtype)
        for name, entry in entries.items()
        if isinstance(entry, TensorStorageMetadata)
    }


def load_tensors(folder: Path, names: Sequence[str]) -> dict[str, Tensor]:
    """The named tensors, whole, on CPU."""
    stored = stored_tensors(folder)
    tensors = {name: torch.empty(stored[name][0], dtype=stored[name][1]) for name in names}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is .*")  # uninitialized: as asked for
        torch_checkpoint.load(tensors, storage_reader=torch_checkpoint.FileSystemReader(folder), no_dist=True)
    return tensors


def write_tensors(tensors: Mapping[str, Tensor], folder: Path, num_layers: int) -> None:
    """Write whole tensors into the new folder `folder`, inside a process group of one."""
    from megatron.core.dist_checkpointing import ShardedTensor  # heavy, and only on machines that have NeMo

    pieces = [ShardedTensor.from_rank_offsets(name, tensor) for name, tensor in tensors.items()]
    save_pieces(pieces, folder, num_layers)
