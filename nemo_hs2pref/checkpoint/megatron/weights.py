"""A model's weights to and from a checkpoint folder; every rank calls these together.

A model with LoRA adapters stores these and its head alone; the frozen rest stays in the base that it started from.
"""

from pathlib import Path
from typing import Any

from megatron.core import dist_checkpointing

from nemo_hs2pref.checkpoint.adapters import ADAPTER
from nemo_hs2pref.checkpoint.layout import WEIGHTS
from nemo_hs2pref.checkpoint.megatron.reader import load
from nemo_hs2pref.checkpoint.opening import opened
from nemo_hs2pref.checkpoint.reward_head import HEAD


def save_weights(model: Any, folder: Path) -> None:
    """Write `folder`/model_weights, which must exist and be empty."""
    state = model.sharded_state_dict()
    if any(ADAPTER in key for key in state):
        state = {key: entry for key, entry in state.items() if ADAPTER in key or key.startswith(HEAD)}
    dist_checkpointing.save(state, str(folder / WEIGHTS))


def load_weights(model: Any, path: Path, *, head: bool) -> None:
    """Fill the model, all but its adapters, from the checkpoint at `path`, whatever layout wrote it.

    With its head or a fresh one. Raises CheckpointError naming the first tensor that is missing or of another shape.
    """
    state = model.sharded_state_dict()
    fill(model, path, {k: v for k, v in state.items() if ADAPTER not in k and (head or not k.startswith(HEAD))})


def load_adapters(model: Any, path: Path) -> None:
    """Fill adapters and head from the adapter checkpoint at `path`; raises as load_weights does."""
    state = model.sharded_state_dict()
    fill(model, path, {k: v for k, v in state.items() if ADAPTER in k or k.startswith(HEAD)})


def fill(model: Any, path: Path, state: dict[str, Any]) -> None:
    """Read the tensors of `state`, a part of the model's sharded state, into the model."""
    wanted = {key: entry for key, entry in state.items() if not key.endswith("_extra_state")}
    loaded = load(wanted, opened(path) / WEIGHTS, same_dtype=False)
    (module,) = model.get_model_module_list()
    result = module.load_state_dict({key.removeprefix("model."): loaded[key] for key in wanted}, strict=False)
    assert not result.unexpected_keys, result
