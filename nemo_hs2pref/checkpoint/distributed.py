"""Writing megatron-core's distributed checkpoint format (torch_dist) without building a model.

The format stores whole tensors under global names, so what one process writes here is read by any layout of
tensor and pipeline parallelism.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nemo_hs2pref.checkpoint.llama import LAYER, Weight
from nemo_hs2pref.checkpoint.torch_dist import adapt_writer

if TYPE_CHECKING:
    from megatron.core.dist_checkpointing import ShardedTensor
    from megatron.core.dist_checkpointing.mapping import ShardedObject

# Modules for which a model may ask for an extra state. Transformer Engine keeps its FP8 scales there and accepts None
# for "no FP8 yet"; megatron-core's own layers always write None. A model that misses one refuses to load, one that
# finds too many does not mind: so these are the ones of both.
LAYER_EXTRA_STATES = (
    "self_attention.linear_qkv",
    "self_attention.core_attention",
    "self_attention.linear_proj",
    "mlp.linear_fc1",
    "mlp.linear_fc2",
)
FINAL_EXTRA_STATE = "model.decoder.final_layernorm"


def write_distributed(weights: Iterable[Weight], folder: Path, num_layers: int) -> None:
    """Write `weights` into the new folder `folder`.

    All weights exist at once, so they should be memory-mapped where they can be.
    megatron-core starts a helper process with multiprocessing's spawn, so a script that calls this needs
    an `if __name__ == "__main__"` guard.
    """
    pieces = [sharded_tensor(weight, num_layers) for weight in weights]
    with one_process_group():
        save_pieces(pieces, folder, num_layers)


def save_pieces(pieces: Sequence["ShardedTensor"], folder: Path, num_layers: int) -> None:
    """Save sharded tensors, with the empty extra states that a model asks for, inside a process group of one."""
    from megatron.core import dist_checkpointing  # heavy, and only on machines that have NeMo

    folder.mkdir()
    adapt_writer()
    state = {"weights": pieces, "extra_states": extra_states(num_layers)}
    # The plain call would wait for a GPU in between, which need not be there: so prepare, then write, here and now.
    dist_checkpointing.save(state, str(folder), async_sharded_save=True).execute_sync()


def sharded_tensor(weight: Weight, num_layers: int) -> "ShardedTensor":
    """The piece with its place in the global tensor, [layers, ...] for a weight of a layer."""
    from megatron.core.dist_checkpointing import ShardedTensor

    if weight.layer is None:
        return ShardedTensor.from_rank_offsets(weight.key, weight.value)
    offsets = [(0, weight.layer, num_layers), (1, *weight.part)]
    return ShardedTensor.from_rank_offsets(weight.key, weight.value, *offsets, prepend_axis_num=1)


def extra_states(num_layers: int) -> list["ShardedObject"]:
    """The empty extra states, one a layer and module."""
    from megatron.core.dist_checkpointing.mapping import ShardedObject

    states = [
        ShardedObject(f"{LAYER}{module}._extra_state", None, (num_layers,), (layer,))
        for module in LAYER_EXTRA_STATES
        for layer in range(num_layers)
    ]
    return [*states, ShardedObject(f"{FINAL_EXTRA_STATE}._extra_state", None, (1,), (0,))]


@contextmanager
def one_process_group() -> Iterator[None]:
    """A torch.distributed group of this process alone, without a network port."""
    assert not torch.distributed.is_initialized(), "conversion runs in a process of its own"
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
