"""megatron-core's reader of torch_dist folders, with nothing taken on trust.

It unpickles `.metadata` and `common.pt`, and what the index calls bytes, in ways that run any code which stands there.
A run folder may come from elsewhere as well as a model: so all that is read goes through `load`.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata

from nemo_hs2pref.checkpoint.reward_head import HEAD
from nemo_hs2pref.checkpoint.torch_dist.index import read_metadata, refuse_code
from nemo_hs2pref.errors import CheckpointError


def adapt_reader() -> None:
    """Every torch.load of this process reads data alone, and torch's reader of an index is ours; harmless twice.

    megatron-core 0.11 asks torch.load for weights_only=False; torch lets the environment overrule it. It cannot be
    told to unpickle an index in another way than torch does.
    """
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)  # torch refuses both
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    FileSystemReader.read_metadata = read_index  # pyright: ignore[reportAttributeAccessIssue] its `self` is our `reader`


def read_index(reader: FileSystemReader, *_: Any, **__: Any) -> Metadata:
    """In place of torch's FileSystemReader.read_metadata, whose pickle.load runs what it is told to."""
    metadata = read_metadata(Path(reader.path))
    metadata.storage_meta = metadata.storage_meta or StorageMeta()
    metadata.storage_meta.load_id = reader.load_id
    return metadata


def load(wanted: dict[str, Any], folder: Path, *, same_dtype: bool) -> dict[str, Any]:
    """megatron-core's dist_checkpointing.load of the sharded state `wanted`.

    Raises CheckpointError before anything is read: for the first tensor that is missing, stored as something else or
    of another shape (with same_dtype, of another dtype), and where more than tensors, numbers and text is stored.
    """
    from megatron.core import dist_checkpointing

    refuse_code(folder)
    refuse_mismatch(wanted, folder, same_dtype=same_dtype)
    return dist_checkpointing.load(wanted, str(folder))


def refuse_mismatch(wanted: dict[str, Any], folder: Path, *, same_dtype: bool) -> None:
    index = read_metadata(folder)
    reshaped: dict[str, Any] = getattr(index, "mcore_data", {})
    for shard in shards_of(wanted):
        entry = index.state_dict_metadata.get(shard.key)
        if entry is None:
            raise CheckpointError(f"{folder}: tensor {shard.key} is missing" + head_hint(shard.key))
        if not isinstance(entry, TensorStorageMetadata):
            raise CheckpointError(f"{folder}: {shard.key} is stored as bytes, expected a tensor; do not trust it")
        # of the optimizer flat pieces are stored, with the shape that they have together beside them
        got = tuple(reshaped.get(shard.key, {}).get("nd_reformulated_orig_global_shape") or entry.size)
        if got != tuple(shard.global_shape):
            expected = tuple(shard.global_shape)
            raise CheckpointError(f"{folder}: tensor {shard.key} has shape {got}, this model needs {expected}")
        if same_dtype and entry.properties.dtype != shard.dtype:
            raise CheckpointError(
                f"{folder}: tensor {shard.key} is {entry.properties.dtype}, this run keeps it in {shard.dtype}"
            )


def shards_of(wanted: dict[str, Any]) -> Iterator[Any]:
    """Each tensor that is asked for; of a weight that is stored in another shape than it is held, those stored."""
    from megatron.core.dist_checkpointing.dict_utils import nested_values
    from megatron.core.dist_checkpointing.mapping import ShardedBase, ShardedTensor, ShardedTensorFactory

    for entry in nested_values(wanted):
        if isinstance(entry, ShardedTensorFactory):
            yield from nested_values(entry.build())
        elif isinstance(entry, ShardedBase):
            assert isinstance(entry, ShardedTensor), f"{entry.key}: objects are stored as pickles"
            yield entry


def head_hint(key: str) -> str:
    return "; it has no reward head, so set head.load_rm_head_weights=false" if key.startswith(HEAD) else ""
