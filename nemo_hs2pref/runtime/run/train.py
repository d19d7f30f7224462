"""A supervised run: from a checked configuration to a finished run folder. Every rank runs this."""

import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from nemo_hs2pref.algorithms.early_stop import EarlyStop
from nemo_hs2pref.algorithms.loop import SupervisedRun, fit
from nemo_hs2pref.checkpoint.adapters import base_of, refuse_other_base
from nemo_hs2pref.checkpoint.layout import TOKENIZER, resume_path
from nemo_hs2pref.checkpoint.megatron.training_state import load_training_state
from nemo_hs2pref.checkpoint.megatron.weights import load_adapters, load_weights
from nemo_hs2pref.checkpoint.opening import opened
from nemo_hs2pref.checkpoint.saved_run import read_saved_run
from nemo_hs2pref.checkpoint.train_state import TrainState
from nemo_hs2pref.config.durations import format_duration
from nemo_hs2pref.config.resume import identity, refuse_other_rows, refuse_other_run
from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.errors import STOPPED
from nemo_hs2pref.models.trainable import Trainable
from nemo_hs2pref.objectives.interface import Objective
from nemo_hs2pref.plots.training import plot_training
from nemo_hs2pref.repository import code_version
from nemo_hs2pref.run_lock import RunLock
from nemo_hs2pref.run_state import StateFile, one_sentence
from nemo_hs2pref.runtime.process import slurm_step, stop_signals
from nemo_hs2pref.runtime.process.wall_clock import WallClock, end_of_run
from nemo_hs2pref.runtime.run.batching import Batcher, Collate, SupervisedData, sequence_multiple, validation_batches
from nemo_hs2pref.runtime.run.build import make_trainable
from nemo_hs2pref.runtime.run.checkpoint_files import refuse_altered
from nemo_hs2pref.runtime.run.checkpoint_manager import CheckpointManager
from nemo_hs2pref.runtime.run.rows import hashes_of_data, hashes_of_rows
from nemo_hs2pref.runtime.run.run_log import NullLogger, RunLog
from nemo_hs2pref.runtime.run.run_monitor import RunMonitor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Supervised:
    """What one kind of supervised run has of its own."""

    name: str  # of the loss, for the log
    objective: Objective
    build: Callable[[int], Any]  # of so many steps at most: the model with fresh weights, its process group initialised
    collate: Collate


def train(
    kind: Supervised,
    config: RunConfig,
    resolved: DictConfig,
    checkpoint: Mapping[str, Any],
    data: SupervisedData,
    lock: RunLock,
    started: float,
) -> int:
    """Start or resume the run in exp_manager.explicit_log_dir; returns 0, or STOPPED if it was asked to stop early.

    `checkpoint` is the model_config.yaml of pretrained_checkpoint.restore_from_path, `started` the time of the start.
    """
    folder = Path(config.exp_manager.explicit_log_dir)
    hold(lock)
    resumed = resume_path(folder / "checkpoints") if config.exp_manager.resume_if_exists else None
    is_first = slurm_step.is_first(os.environ)
    rows = hashes_of_rows(config) if is_first else {}
    if resumed:
        saved = read_saved_run(resumed)
        refuse_other_run(str(folder), saved.run, resolved, type(config))
        if is_first:
            refuse_other_rows(str(folder), saved.read, rows)
        refuse_altered(resumed)
    monitor = monitor_of(config, data.num_steps, resumed, started) if is_first else RunMonitor(None, None)
    trainable, progress = start(kind, config, data.num_steps, resumed)
    announce(kind, config, data, resumed, progress)

    log = NullLogger()
    if is_first:
        with one_sentence(folder / "config.yaml"):
            OmegaConf.save(resolved, folder / "config.yaml")
        log = RunLog(config.exp_manager, resolved, step=progress.step, num_steps=data.num_steps)
    batcher = Batcher(config, kind.collate, multiple_of=sequence_multiple(config))
    run = SupervisedRun(
        trainable,
        kind.objective,
        train_batches=lambda step: batcher(data.train, data.order.indices(step)),
        validation_sets={name: validation_batches(config, batcher, items) for name, items in data.validation.items()},
        log=log,
        checkpoints=checkpoint_manager_of(config, resolved, checkpoint, trainable, rows),
        monitor=monitor,
        early_stop=early_stop_of(config),
        num_steps=data.num_steps,
        items_per_step=config.model.global_batch_size,
        val_check_interval=config.loop.val_check_interval,
        save_interval=config.loop.save_interval,
    )
    stop_signals.catch_term()
    with closing(log):  # a progress bar would share its line with the message of a failure
        reasons = fit(run, progress)
        stop_signals.excused.set()  # nothing may interrupt the rest
    if is_first:
        conclude(monitor, reasons, identity(resolved, type(config)), folder)
    return STOPPED if reasons else 0


def hold(lock: RunLock) -> None:
    """Every rank; before anything of the folder is read or written."""
    if slurm_step.is_first(os.environ):
        lock.claim()
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    lock.join()


def monitor_of(config: RunConfig, num_steps: int, resumed: Path | None, started: float) -> RunMonitor:
    """Rank 0's monitor: the state file of this start, and the clock if there is a time limit."""
    exp_manager = config.exp_manager
    folder = Path(exp_manager.explicit_log_dir)
    with one_sentence(folder):
        folder.mkdir(parents=True, exist_ok=True)
    step = read_saved_run(resumed).step if resumed else 0
    state = StateFile(
        folder, step=step, num_steps=num_steps, checkpoint=str(resumed.relative_to(folder)) if resumed else None,
        started=started,
    )  # fmt: skip
    end = end_of_run(exp_manager.max_time_per_run, started)
    if not math.isinf(end):
        left = format_duration(max(0.0, end - time.time()))
        logger.info("%s left; at least %g s of it are kept for saving", left, exp_manager.save_margin_s)
    return RunMonitor(state, WallClock(end, margin_s=exp_manager.save_margin_s, last_save_s=state.state.save_s))


def conclude(monitor: RunMonitor, reasons: Sequence[str], run: Mapping[str, Any], folder: Path) -> None:
    """What rank 0 logs and writes at the end."""
    assert monitor.state is not None
    state = monitor.state.state
    if reasons:
        monitor.state.note(phase="stopped", reason=", ".join(reasons))
        logger.info(
            "stopped after step %d of %d (%s); the same command goes on from there",
            state.step, state.num_steps, ", ".join(reasons),
        )  # fmt: skip
        return
    plot_training({folder.name: folder}, folder / "curves.png")
    monitor.state.finish(run)


def start(kind: Supervised, config: RunConfig, num_steps: int, resumed: Path | None) -> tuple[Trainable, TrainState]:
    """The model with its weights and optimizer, from the base checkpoint or from the resume state."""
    model = kind.build(num_steps)
    base = Path(config.pretrained_checkpoint.restore_from_path)
    if resumed is None:
        load_weights(model, base, head=config.continues_head)
    elif config.model.peft.lora_tuning is None:
        load_weights(model, resumed, head=True)
    else:
        refuse_other_base(resumed, base)
        load_weights(model, base, head=False)
        load_adapters(model, resumed)
    trainable = make_trainable(model)
    if resumed is None:
        return trainable, TrainState()
    return trainable, load_training_state(model, trainable.optimizer, trainable.scheduler, resumed)


def early_stop_of(config: RunConfig) -> EarlyStop | None:
    params = config.exp_manager.early_stopping_callback_params
    if not config.exp_manager.create_early_stopping_callback:
        return None
    return EarlyStop(params.monitor, params.mode, params.patience, params.min_delta)


def checkpoint_manager_of(
    config: RunConfig,
    resolved: DictConfig,
    checkpoint: Mapping[str, Any],
    trainable: Trainable,
    rows: Mapping[str, str],
) -> CheckpointManager:
    """It stores beside the weights: NeMo's model section, the tokenizer, the configuration, the data's hashes, the
    adapters' base.

    rows: what `hashes_of_rows` gives.
    """
    stored = OmegaConf.to_container(trainable.model.cfg)
    assert isinstance(stored, dict)
    base = Path(config.pretrained_checkpoint.restore_from_path)
    origin: dict[str, Any] = {"run": OmegaConf.to_container(resolved), "read": rows}
    origin["data"] = hashes_of_data(Path(config.data.dir), rows)
    if slurm_step.is_first(os.environ):
        origin |= code_version()
    if config.model.peft.lora_tuning is not None:
        origin["base"] = base_of(base)
    return CheckpointManager(
        Path(config.exp_manager.explicit_log_dir) / "checkpoints",
        trainable.model,
        trainable.optimizer,
        trainable.scheduler,
        config.exp_manager.checkpoint_callback_params,
        config={str(key): value for key, value in stored.items()} | {"tokenizer": checkpoint["tokenizer"]},
        tokenizer=opened(base) / TOKENIZER,
        origin=origin,
    )


def announce(
    kind: Supervised, config: RunConfig, data: SupervisedData, resumed: Path | None, progress: TrainState
) -> None:
    """Log what is trained, on what and from where: the lines that people read first."""
    stop = early_stop_of(config)
    logger.info("loss %s = %s", kind.name, kind.objective.formula)
    size, steps = config.model.global_batch_size, data.num_steps
    held_out = ", ".join(f"{name} {len(items)}" for name, items in data.validation.items()) or "nothing"
    logger.info("%d %s; %d steps of %d; held out: %s", len(data.train), config.unit, steps, size, held_out)
    if resumed is None:
        logger.info("starting from %s", config.pretrained_checkpoint.restore_from_path)
    elif progress.step < steps and not (stop and stop.is_reached(progress)):
        logger.info("resuming %s after step %d", resumed, progress.step)
    else:
        logger.info("%s is finished, after step %d of %d", resumed, progress.step, steps)
