"""How often a run writes checkpoints, and how long it does nothing else."""

from dataclasses import dataclass

from nemo_hs2pref.config.schema.common import RunConfig

RATE = 2e9  # bytes a second that a shared file system takes from all ranks together: an assumption   [ours]


@dataclass(frozen=True)
class Saves:
    """Of a run that nothing interrupts."""

    resume_states: int
    best_weights: int  # at most: where every validation is better than those before


def saves_of(config: RunConfig, steps: int) -> Saves:
    loop, keeps_best = config.loop, config.exp_manager.checkpoint_callback_params.save_top_k > 0
    return Saves(times(steps, loop.save_interval), times(steps, loop.val_check_interval) if keeps_best else 0)


def times(steps: int, interval: int) -> int:
    """Every `interval` steps (0: never) and after the last."""
    return -(-steps // interval) if interval else 1
