"""What a resumed run needs besides the weights: optimizer, schedule, counters and random state.

Everything is in the checkpoint itself; nothing is read from a file name. Another layout can resume it: the
optimizer is stored tensor by tensor like the model. The random state is per rank and fits the same layout and
kind of device only.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from megatron.core import dist_checkpointing, parallel_state
from megatron.core.tensor_parallel import get_cuda_rng_tracker

from nemo_hs2pref.checkpoint.layout import TRAINING_STATE
from nemo_hs2pref.checkpoint.megatron.reader import load
from nemo_hs2pref.checkpoint.resumed_state import fitting, progress_in, read_random_state
from nemo_hs2pref.checkpoint.torch_dist.index import COMMON
from nemo_hs2pref.checkpoint.train_state import TrainState


def save_training_state(model: Any, optimizer: Any, scheduler: Any, progress: TrainState, folder: Path) -> None:
    """Write `folder`/training_state, which must exist and be empty."""
    state = {
        "optimizer": optimizer.sharded_state_dict(model.sharded_state_dict(), dist_ckpt_parallel_save=True),
        "scheduler": scheduler.state_dict(),
        "progress": asdict(progress),
        "layout": layout(),
    }
    dist_checkpointing.save(state, str(folder / TRAINING_STATE))
    with (folder / TRAINING_STATE / f"random_rank{torch.distributed.get_rank()}.pt").open("wb") as file:
        torch.save(random_state(), file)  # into an open file: given a path, torch does not say why it cannot write


def load_training_state(model: Any, optimizer: Any, scheduler: Any, path: Path) -> TrainState:
    """Restore optimizer, schedule and (in the same layout) random state; returns the counters.

    Raises CheckpointError where one of them is missing, damaged or of another kind.
    """
    folder = path / TRAINING_STATE
    wanted = {
        "optimizer": optimizer.sharded_state_dict(
            model.sharded_state_dict(), is_loading=True, dist_ckpt_parallel_save=True
        )
    }
    state = load(wanted, folder, same_dtype=True)
    progress = progress_in(state, folder / COMMON)
    with fitting(folder / COMMON):
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        for group, lr in zip(optimizer.param_groups, scheduler.get_last_lr(), strict=True):
            group["lr"] = lr
    if state["layout"] == layout():
        file = folder / f"random_rank{torch.distributed.get_rank()}.pt"
        random = read_random_state(file)
        with fitting(file):
            restore_random_state(random)
    return progress


def layout() -> dict[str, Any]:
    """What the random state fits."""
    return {
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "tensor_parallel": parallel_state.get_tensor_model_parallel_world_size(),
        "pipeline_parallel": parallel_state.get_pipeline_model_parallel_world_size(),
        "world_size": torch.distributed.get_world_size(),
    }


def random_state() -> dict[str, Any]:
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(),
        "tracker": dict(get_cuda_rng_tracker().get_states()),
    }


def restore_random_state(state: dict[str, Any]) -> None:
    get_cuda_rng_tracker().set_states(state["tracker"])
    torch.cuda.set_rng_state(state["cuda"])
    torch.set_rng_state(state["cpu"])
