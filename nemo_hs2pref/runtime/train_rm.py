"""Train a reward model: from a checked configuration to a finished run folder. Every rank runs this."""

import json
import logging
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from nemo_hs2pref.algorithms.early_stop import EarlyStop
from nemo_hs2pref.algorithms.supervised import SupervisedRun, fit
from nemo_hs2pref.checkpoint.adapters import base_of, refuse_other_base
from nemo_hs2pref.checkpoint.layout import TOKENIZER
from nemo_hs2pref.checkpoint.megatron.training_state import load_training_state
from nemo_hs2pref.checkpoint.megatron.weights import load_adapters, load_weights
from nemo_hs2pref.checkpoint.opening import opened, read_manifest
from nemo_hs2pref.checkpoint.progress import Progress
from nemo_hs2pref.config.resume import refuse_other_run
from nemo_hs2pref.config.schema import RewardModelConfig
from nemo_hs2pref.plots.training import plot_training
from nemo_hs2pref.runtime.build import Trainable, build_reward_model, make_trainable
from nemo_hs2pref.runtime.keeper import CheckpointKeeper, resume_path
from nemo_hs2pref.runtime.rm_data import Batcher, RunData, sequence_multiple, validation_batches
from nemo_hs2pref.runtime.rm_objective import objective_of
from nemo_hs2pref.runtime.run_log import RunLog

logger = logging.getLogger(__name__)


def train(config: RewardModelConfig, resolved: DictConfig, checkpoint: Mapping[str, Any], data: RunData) -> None:
    """Run or resume the run in exp_manager.explicit_log_dir.

    `checkpoint` is the model_config.yaml of pretrained_checkpoint.restore_from_path.
    """
    folder = Path(config.exp_manager.explicit_log_dir)
    resumed = resume_path(folder / "checkpoints") if config.exp_manager.resume_if_exists else None
    if resumed:
        refuse_other_run(str(folder), read_manifest(resumed)["run"], resolved)
    trainable, progress = start(config, checkpoint, data.num_steps, resumed)
    announce(config, data, resumed, progress)

    is_writer = torch.distributed.get_rank() == 0
    if is_writer:
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(resolved, folder / "config.yaml")
    log = RunLog(config.exp_manager, resolved, step=progress.step, num_steps=data.num_steps, is_writer=is_writer)
    batcher = Batcher(config, multiple_of=sequence_multiple(config))
    run = SupervisedRun(
        trainable.model,
        trainable.optimizer,
        trainable.scheduler,
        slots=config.head.attributes,
        train_batches=lambda step: batcher(data.train, data.order.indices(step)),
        validation_sets={name: validation_batches(config, batcher, items) for name, items in data.validation.items()},
        log=log,
        keeper=keeper_of(config, resolved, checkpoint, trainable),
        early_stop=early_stop_of(config),
        num_steps=data.num_steps,
        items_per_step=config.model.global_batch_size,
        val_check_interval=config.trainer.rm.val_check_interval,
        save_interval=config.trainer.rm.save_interval,
    )
    with closing(log):  # a progress bar would share its line with the message of a failure
        fit(run, progress)
    if is_writer:
        plot_training({folder.name: folder}, folder / "curves.png")


def start(
    config: RewardModelConfig, checkpoint: Mapping[str, Any], num_steps: int, resumed: Path | None
) -> tuple[Trainable, Progress]:
    """The model with its weights and optimizer, from the base checkpoint or from the resume state."""
    model = build_reward_model(config, checkpoint, max_steps=num_steps)
    model.objective = objective_of(config)
    base = Path(config.pretrained_checkpoint.restore_from_path)
    if resumed is None:
        load_weights(model, base, head=config.head.load_rm_head_weights)
    elif config.model.peft.lora_tuning is None:
        load_weights(model, resumed, head=True)
    else:
        refuse_other_base(resumed, base)
        load_weights(model, base, head=False)
        load_adapters(model, resumed)
    trainable = make_trainable(model)
    if resumed is None:
        return trainable, Progress()
    return trainable, load_training_state(model, trainable.optimizer, trainable.scheduler, resumed)


def early_stop_of(config: RewardModelConfig) -> EarlyStop | None:
    params = config.exp_manager.early_stopping_callback_params
    if not config.exp_manager.create_early_stopping_callback:
        return None
    return EarlyStop(params.monitor, params.mode, params.patience, params.min_delta)


def keeper_of(
    config: RewardModelConfig, resolved: DictConfig, checkpoint: Mapping[str, Any], trainable: Trainable
) -> CheckpointKeeper:
    """Stored beside the weights: NeMo's model section, the tokenizer, the run's configuration, the adapters' base."""
    stored = OmegaConf.to_container(trainable.model.cfg, resolve=True)
    assert isinstance(stored, dict)
    base = Path(config.pretrained_checkpoint.restore_from_path)
    origin: dict[str, Any] = {"run": OmegaConf.to_container(resolved), "data": data_hashes(Path(config.data.dir))}
    if config.model.peft.lora_tuning is not None:
        origin["base"] = base_of(base)
    return CheckpointKeeper(
        Path(config.exp_manager.explicit_log_dir) / "checkpoints",
        trainable.model,
        trainable.optimizer,
        trainable.scheduler,
        config.exp_manager.checkpoint_callback_params,
        config={str(key): value for key, value in stored.items()} | {"tokenizer": checkpoint["tokenizer"]},
        tokenizer=opened(base) / TOKENIZER,
        origin=origin,
    )


def data_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of the prepared files, by the manifest of `hs2pref data prepare`; empty where there is none."""
    file = folder / "manifest.json"
    outputs = json.loads(file.read_text())["outputs"] if file.is_file() else {}
    return {name: about["sha256"] for name, about in outputs.items()}


def announce(config: RewardModelConfig, data: RunData, resumed: Path | None, progress: Progress) -> None:
    """What is trained, on what, from where: the lines that a person reads first."""
    stop = early_stop_of(config)
    logger.info("loss %s = %s", config.loss.name, objective_of(config).formula)
    unit = "pairs" if config.loss.reads == "pairs" else "responses"
    size, steps = config.model.global_batch_size, data.num_steps
    held_out = ", ".join(f"{name} {len(items)}" for name, items in data.validation.items()) or "nothing"
    logger.info("%d %s; %d steps of %d; held out: %s", len(data.train), unit, steps, size, held_out)
    if resumed is None:
        logger.info("starting from %s", config.pretrained_checkpoint.restore_from_path)
    elif progress.step < steps and not (stop and stop.is_reached(progress)):
        logger.info("resuming %s after step %d", resumed, progress.step)
    else:
        logger.info("%s is finished, after step %d of %d", resumed, progress.step, steps)
