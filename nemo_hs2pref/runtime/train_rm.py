"""Train a reward model: from a checked configuration to a finished run folder. Every rank runs this."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from nemo_hs2pref.algorithms.supervised import SupervisedRun, fit
from nemo_hs2pref.checkpoint.layout import TOKENIZER, read_manifest
from nemo_hs2pref.checkpoint.training_state import Progress, load_training_state
from nemo_hs2pref.checkpoint.weights import load_weights
from nemo_hs2pref.config.resume import refuse_other_run
from nemo_hs2pref.config.schema import RewardModelConfig
from nemo_hs2pref.models.objectives import OBJECTIVES, Objective
from nemo_hs2pref.runtime.build import Trainable, build_reward_model, make_trainable
from nemo_hs2pref.runtime.keeper import CheckpointKeeper, resume_path
from nemo_hs2pref.runtime.rm_data import Batcher, RunData, read_data, sequence_multiple, validation_batches
from nemo_hs2pref.runtime.run_log import RunLog

logger = logging.getLogger(__name__)


def train(config: RewardModelConfig, resolved: DictConfig, checkpoint: Mapping[str, Any]) -> None:
    """Run or resume the run in exp_manager.explicit_log_dir.

    `checkpoint` is the model_config.yaml of pretrained_checkpoint.restore_from_path.
    """
    folder = Path(config.exp_manager.explicit_log_dir)
    resumed = resume_path(folder / "checkpoints") if config.exp_manager.resume_if_exists else None
    if resumed:
        refuse_other_run(str(folder), read_manifest(resumed)["run"], resolved)
    data = read_data(config)
    trainable, progress = start(config, checkpoint, data.num_steps, resumed)
    announce(config, data, resumed, progress)

    is_writer = torch.distributed.get_rank() == 0
    if is_writer:
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(resolved, folder / "config.yaml")
    log = RunLog(
        folder,
        step=progress.step,
        num_steps=data.num_steps,
        tensorboard=config.exp_manager.create_tensorboard_logger,
        is_writer=is_writer,
    )
    batcher = Batcher(config, multiple_of=sequence_multiple(config))
    run = SupervisedRun(
        trainable.model,
        trainable.optimizer,
        trainable.scheduler,
        train_batches=lambda step: batcher(data.train, data.order.indices(step)),
        validation_batches=validation_batches(config, batcher, data.validation),
        log=log,
        keeper=keeper_of(config, resolved, checkpoint, trainable),
        num_steps=data.num_steps,
        items_per_step=config.model.global_batch_size,
        val_check_interval=config.trainer.rm.val_check_interval,
        save_interval=config.trainer.rm.save_interval,
    )
    fit(run, progress)
    log.close()


def start(
    config: RewardModelConfig, checkpoint: Mapping[str, Any], num_steps: int, resumed: Path | None
) -> tuple[Trainable, Progress]:
    """The model with its weights and optimizer, from the base checkpoint or from the resume state."""
    model = build_reward_model(config, checkpoint, max_steps=num_steps)
    model.objective = objective_of(config)
    base = Path(config.pretrained_checkpoint.restore_from_path)
    load_weights(model, resumed or base, head=bool(resumed) or config.head.load_rm_head_weights)
    trainable = make_trainable(model)
    if resumed is None:
        return trainable, Progress()
    return trainable, load_training_state(model, trainable.optimizer, trainable.scheduler, resumed)


def objective_of(config: RewardModelConfig) -> Objective:
    return OBJECTIVES[config.loss.name](reward_weights=tuple(config.head.reward_weights))


def keeper_of(
    config: RewardModelConfig, resolved: DictConfig, checkpoint: Mapping[str, Any], trainable: Trainable
) -> CheckpointKeeper:
    """Stored beside the weights: NeMo's model section, the tokenizer, and the run's configuration."""
    stored = OmegaConf.to_container(trainable.model.cfg, resolve=True)
    run = OmegaConf.to_container(resolved)
    assert isinstance(stored, dict) and isinstance(run, dict)
    return CheckpointKeeper(
        Path(config.exp_manager.explicit_log_dir) / "checkpoints",
        trainable.model,
        trainable.optimizer,
        trainable.scheduler,
        config.exp_manager.checkpoint_callback_params,
        config={str(key): value for key, value in stored.items()} | {"tokenizer": checkpoint["tokenizer"]},
        tokenizer=Path(config.pretrained_checkpoint.restore_from_path) / TOKENIZER,
        run={str(key): value for key, value in run.items()},
    )


def announce(config: RewardModelConfig, data: RunData, resumed: Path | None, progress: Progress) -> None:
    """What is trained, on what, from where: the lines that a person reads first."""
    objective = objective_of(config)
    logger.info("loss %s = mean of %s", objective.name, objective.formula)
    unit = "responses" if config.loss.name == "regression" else "pairs"
    size, steps = config.model.global_batch_size, data.num_steps
    logger.info("%d %s, %d held out; %d steps of %d", len(data.train), unit, len(data.validation), steps, size)
    if resumed is None:
        logger.info("starting from %s", config.pretrained_checkpoint.restore_from_path)
    elif progress.step < steps:
        logger.info("resuming %s after step %d", resumed, progress.step)
    else:
        logger.info("%s is finished, after step %d of %d", resumed, progress.step, steps)
