"""A reward model's weights to and from a checkpoint folder; every rank calls these together.

A model with LoRA adapters stores these and its head alone; the frozen rest stays in the base that it started from.
"""

from pathlib import Path
from typing import Any

from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.mapping import ShardedTensorFactory

from nemo_hs2pref.checkpoint.adapters import ADAPTER
from nemo_hs2pref.checkpoint.layout import WEIGHTS
from nemo_hs2pref.checkpoint.opening import opened
from nemo_hs2pref.checkpoint.reward_head import HEAD
from nemo_hs2pref.checkpoint.torch_dist.index import refuse_code
from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.models.megatron_reward_model import MegatronRewardModel


def save_weights(model: MegatronRewardModel, folder: Path) -> None:
    """Write `folder`/model_weights, which must exist and be empty."""
    state = model.sharded_state_dict()
    if any(ADAPTER in key for key in state):
        state = {key: entry for key, entry in state.items() if ADAPTER in key or key.startswith(HEAD)}
    dist_checkpointing.save(state, str(folder / WEIGHTS))


def load_weights(model: MegatronRewardModel, path: Path, *, head: bool) -> None:
    """Fill the model, all but its adapters, from the checkpoint at `path`, whatever layout wrote it.

    With its head or a fresh one. Raises CheckpointError naming the first tensor that is missing or of another shape.
    """
    state = model.sharded_state_dict()
    fill(model, path, {k: v for k, v in state.items() if ADAPTER not in k and (head or not k.startswith(HEAD))})


def load_adapters(model: MegatronRewardModel, path: Path) -> None:
    """Fill adapters and head from the adapter checkpoint at `path`; raises as load_weights does."""
    state = model.sharded_state_dict()
    fill(model, path, {k: v for k, v in state.items() if ADAPTER in k or k.startswith(HEAD)})


def fill(model: MegatronRewardModel, path: Path, state: dict[str, Any]) -> None:
    """Read the tensors of `state`, a part of the model's sharded state, into the model."""
    wanted = {key: entry for key, entry in state.items() if not key.endswith("_extra_state")}
    refuse_code(opened(path) / WEIGHTS)
    refuse_mismatch(wanted, path)
    loaded = dist_checkpointing.load(wanted, str(opened(path) / WEIGHTS))
    (module,) = model.get_model_module_list()
    result = module.load_state_dict({key.removeprefix("model."): loaded[key] for key in wanted}, strict=False)
    assert not result.unexpected_keys, result


def refuse_mismatch(wanted: dict[str, Any], path: Path) -> None:
    """Compare names and global shapes before anything is read."""
    stored = dist_checkpointing.load_tensors_metadata(str(opened(path) / WEIGHTS))
    for key, entry in wanted.items():
        # a factory makes the shards of a weight that is stored in another shape than it is held
        shards = nested_values(entry.build()) if isinstance(entry, ShardedTensorFactory) else [entry]
        for shard in shards:
            if shard.key not in stored:
                raise CheckpointError(f"{path}: tensor {shard.key} is missing" + head_hint(key))
            got, expected = tuple(stored[shard.key].global_shape), tuple(shard.global_shape)
            if got != expected:
                raise CheckpointError(f"{path}: tensor {shard.key} has shape {got}, this model needs {expected}")


def head_hint(key: str) -> str:
    return "; it has no reward head, so set head.load_rm_head_weights=false" if key.startswith(HEAD) else ""
