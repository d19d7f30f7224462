"""A run folder goes on with the run that it holds, not with another one."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nemo_hs2pref.errors import ConfigError

# What the stored weights, optimizer, schedule and counters mean. Layout and micro batch may change, and the length of
# the run where the learning rate is constant.
MUST_STAY = (
    "loss.name",
    "loss.weights",
    "head.attributes",
    "head.reward_weights",
    "head.bias",
    "head.load_rm_head_weights",
    "data.dir",
    "data.train",
    "data.attributes",
    "data.template",
    "data.shuffle",
    "model.seed",
    "model.encoder_seq_length",
    "model.global_batch_size",
    "model.peft.peft_scheme",
    "model.peft.lora_tuning.adapter_dim",
    "model.peft.lora_tuning.alpha",
    "model.peft.lora_tuning.adapter_dropout",
    "model.peft.lora_tuning.target_modules",
    "model.optim.lr",
    "model.optim.weight_decay",
    "model.optim.betas",
    "model.optim.sched",
    "pretrained_checkpoint.restore_from_path",
    "trainer.precision",
    "trainer.rm.gradient_clip_val",
    # the best values so far are compared with those that come
    "data.validation",
    "trainer.rm.limit_val_batches",
    "exp_manager.checkpoint_callback_params.monitor",
    "exp_manager.checkpoint_callback_params.mode",
    "exp_manager.early_stopping_callback_params.monitor",
    "exp_manager.early_stopping_callback_params.mode",
)
LENGTH = ("trainer.rm.max_epochs", "trainer.rm.max_steps")
EARLY_STOP = (
    "exp_manager.create_early_stopping_callback",
    "exp_manager.early_stopping_callback_params.patience",
    "exp_manager.early_stopping_callback_params.min_delta",
)


def identity(config: DictConfig) -> dict[str, Any]:
    """What a start must ask for to be the same run with the same end; as JSON holds it."""
    stay = OmegaConf.create()
    for key in (*MUST_STAY, *LENGTH, *EARLY_STOP):
        OmegaConf.update(stay, key, OmegaConf.select(config, key), force_add=True)
    plain = OmegaConf.to_container(stay)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def refuse_other_rows(folder: str, stored: Mapping[str, str], given: Mapping[str, str]) -> None:
    """Raise ConfigError for the first file of rows in which the run in `folder` differs; file -> SHA-256.

    None may change: a step that is taken again must find the same rows, and best values are compared on the same ones.
    """
    for name in sorted({*stored, *given}):
        old, new = (of[name][:12] + "..." if name in of else "not there" for of in (stored, given))
        if stored.get(name) != given.get(name):
            raise ConfigError(
                f"{name} is not the file of rows that the run in {folder} has read (SHA-256 {new}, it was {old}); "
                "put that file back, or choose another exp_manager.explicit_log_dir"
            )


def refuse_other_run(folder: str, stored: Mapping[str, Any], given: DictConfig) -> None:
    """Raise ConfigError for the first of MUST_STAY in which the run in `folder` differs from the one asked for."""
    is_constant = given.model.optim.lr == given.model.optim.sched.min_lr
    for key in MUST_STAY if is_constant else (*MUST_STAY, *LENGTH):
        old, new = at(stored, key), OmegaConf.select(given, key)
        if old != new:
            raise ConfigError(
                f"{folder} holds a run with {key}={old}, asked for is {new}; choose another "
                "exp_manager.explicit_log_dir, or set exp_manager.resume_if_exists=false to start that one anew"
            )


def at(stored: Any, key: str) -> Any:
    """The value of a dotted key, as it is stored; None where there is none."""
    for name in key.split("."):
        stored = stored.get(name) if isinstance(stored, Mapping) else None
    return stored
