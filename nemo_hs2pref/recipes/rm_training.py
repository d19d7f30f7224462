"""The heavy side of reward models. NeMo is imported when `train` is called, and no sooner."""

from omegaconf import DictConfig

from nemo_hs2pref.config.rules.checking import Checkpoint
from nemo_hs2pref.config.schema.reward_model import RewardModelConfig
from nemo_hs2pref.run_lock import RunLock
from nemo_hs2pref.runtime.run.rm_data import RunData, read_data

__all__ = ["read_data", "train"]


def train(
    config: RewardModelConfig,
    resolved: DictConfig,
    checkpoint: Checkpoint,
    data: RunData,
    lock: RunLock,
    started: float,
) -> int:
    """See recipe.Training."""
    from nemo_hs2pref.runtime.run import train_rm

    return train_rm.train(config, resolved, checkpoint, data, lock, started)
