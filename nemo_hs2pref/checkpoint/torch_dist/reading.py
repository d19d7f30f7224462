"""Tensors of a torch_dist folder by name, whole or a layer or some rows of one, in one process and without a model."""

from math import prod
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.checkpoint import DefaultLoadPlanner, FileSystemReader
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadPlan
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list

from nemo_hs2pref.checkpoint.torch_dist.index import read_metadata
from nemo_hs2pref.errors import CheckpointError


class StoredTensors:
    """The tensors of a torch_dist folder; nothing is read before it is asked for.

    entries: name -> (global shape, dtype); weights of layers have the layer as their first axis.
    Raises CheckpointError naming the file that is missing or cut short.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metadata = read_metadata(folder)
        self.stored = {
            name: entry
            for name, entry in self.metadata.state_dict_metadata.items()
            if isinstance(entry, TensorStorageMetadata)
        }
        self.entries = {name: (tuple(entry.size), entry.properties.dtype) for name, entry in self.stored.items()}
        self.reader = FileSystemReader(folder)
        self.reader.set_up_storage_reader(self.metadata, is_coordinator=True)
        self._refuse_cut_files()

    def _refuse_cut_files(self) -> None:
        """An incomplete copy is told before hours of work."""
        for name, entry in self.stored.items():
            if any(MetadataIndex(name, chunk.offsets) not in self.metadata.storage_data for chunk in entry.chunks):
                raise CheckpointError(f"{self.folder}: tensor {name} is not whole; copy the checkpoint again")
        needed: dict[str, int] = {}
        for place in self.metadata.storage_data.values():
            needed[place.relative_path] = max(needed.get(place.relative_path, 0), place.offset + place.length)
        for name, size in needed.items():
            file = self.folder / name
            found = file.stat().st_size if file.is_file() else None
            if found is None or found < size:
                got = "not found" if found is None else f"has {found} bytes, the index needs {size}"
                raise CheckpointError(f"{file}: {got}; copy the checkpoint again")

    def read(self, name: str, *, layer: int | None = None, rows: tuple[int, int] | None = None) -> Tensor:
        """The tensor on CPU, in its dtype; of one layer without the layers' axis; rows: from, to.

        Reads the stored pieces that it overlaps, one after the other. Raises CheckpointError naming a broken file.
        """
        shape = self.entries[name][0]
        box = [(0, length) for length in shape]
        if layer is not None:
            box[0] = (layer, layer + 1)
        if rows is not None:
            box[0 if layer is None else 1] = rows
        target = torch.empty([end - start for start, end in box], dtype=self.entries[name][1])
        self._fill(name, target, torch.Size(start for start, _ in box))
        return target if layer is None else target[0]

    def _fill(self, name: str, target: Tensor, offset: torch.Size) -> None:
        wanted = ChunkStorageMetadata(offset, target.size())
        items = create_read_items_for_chunk_list(name, self.stored[name], [wanted])
        if sum(prod(item.lengths) for item in items) != target.numel():
            raise CheckpointError(f"{self.folder}: tensor {name} is not whole; copy the checkpoint again")
        for item in items:
            file = self.folder / self.metadata.storage_data[item.storage_index].relative_path
            try:
                self.reader.read_data(LoadPlan([item]), Target(target)).wait()
            except Exception as error:  # open, zip and pickle each raise their own
                raise CheckpointError(
                    f"{file}: {name} cannot be read from it ({error}); copy the checkpoint again"
                ) from error


class Target(DefaultLoadPlanner):
    """Hands torch's reader one tensor to fill, whatever it is called."""

    def __init__(self, target: Tensor) -> None:
        super().__init__()
        self.target = target

    def lookup_tensor(self, index: MetadataIndex) -> Tensor:
        return self.target
