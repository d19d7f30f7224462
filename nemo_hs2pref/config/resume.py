"""A run folder goes on with the run that it holds, not with another one."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nemo_hs2pref.errors import ConfigError

# What the stored weights, optimizer and counters mean. Layout, micro batch and the length of the run may change.
MUST_STAY = (
    "loss.name",
    "loss.weights",
    "head.attributes",
    "head.reward_weights",
    "head.bias",
    "data.dir",
    "data.train",
    "data.attributes",
    "data.template",
    "data.shuffle",
    "model.seed",
    "model.global_batch_size",
    "model.peft.peft_scheme",
    "model.peft.lora_tuning.adapter_dim",
    "model.peft.lora_tuning.alpha",
    "model.peft.lora_tuning.adapter_dropout",
    "model.peft.lora_tuning.target_modules",
    "pretrained_checkpoint.restore_from_path",
)


def refuse_other_run(folder: str, stored: Mapping[str, Any], given: DictConfig) -> None:
    """Raise ConfigError for the first of MUST_STAY in which the run in `folder` differs from the one asked for."""
    before = OmegaConf.create(dict(stored))
    for key in MUST_STAY:
        old, new = OmegaConf.select(before, key), OmegaConf.select(given, key)
        if old != new:
            raise ConfigError(
                f"{folder} holds a run with {key}={old}, asked for is {new}; choose another "
                "exp_manager.explicit_log_dir, or set exp_manager.resume_if_exists=false to start that one anew"
            )
