"""A reward model's weights to and from a checkpoint folder; every rank calls these together."""

from pathlib import Path
from typing import Any

from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.mapping import ShardedTensorFactory

from nemo_hs2pref.checkpoint.layout import WEIGHTS
from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.models.megatron_reward_model import MegatronRewardModel

HEAD = "model.rm_head."


def save_weights(model: MegatronRewardModel, folder: Path) -> None:
    """Write `folder`/model_weights, which must exist and be empty."""
    dist_checkpointing.save(model.sharded_state_dict(), str(folder / WEIGHTS))


def load_weights(model: MegatronRewardModel, path: Path, *, head: bool) -> None:
    """Fill the model from the checkpoint at `path`, whatever layout wrote it; with its head or a fresh one.

    Raises CheckpointError naming the first tensor that is missing or of another shape.
    """
    wanted = {
        key: tensor
        for key, tensor in model.sharded_state_dict().items()
        if not key.endswith("_extra_state") and (head or not key.startswith(HEAD))
    }
    refuse_mismatch(wanted, path)
    loaded = dist_checkpointing.load(wanted, str(path / WEIGHTS))
    (module,) = model.get_model_module_list()
    weights = {key.removeprefix("model."): loaded[key] for key in wanted}
    result = module.load_state_dict(weights, strict=False)
    missing = [key for key in result.missing_keys if head or not key.startswith("rm_head.")]
    missing = [key for key in missing if not key.endswith("_extra_state")]
    assert not missing and not result.unexpected_keys, result


def refuse_mismatch(wanted: dict[str, Any], path: Path) -> None:
    """Compare names and global shapes before anything is read."""
    stored = dist_checkpointing.load_tensors_metadata(str(path / WEIGHTS))
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
