"""A run's log: one line a step, metrics.jsonl for programs, loggers for people. Rank 0 has it, others NullLogger."""

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig
from tqdm import tqdm

from nemo_hs2pref.config.schema.common import ExpManager
from nemo_hs2pref.run_metrics import METRICS, Lost, by_set, cut_after, set_and_metric
from nemo_hs2pref.run_state import one_sentence
from nemo_hs2pref.runtime.run.loggers import loggers

logger = logging.getLogger(__name__)

SHOWN = ("loss", "accuracy", "margin", "mse_helpfulness", "pearson_helpfulness", "reward_mean", "reward_std",
         "grad_norm", "lr", "tokens_per_s", "step_s")  # fmt: skip


class RunLog:
    """Writes into the run's folder; lines after `step` are from a run that was stopped and are cut off."""

    def __init__(self, exp_manager: ExpManager, resolved: DictConfig, *, step: int, num_steps: int) -> None:
        folder = Path(exp_manager.explicit_log_dir)
        self.num_steps = num_steps
        self.path = folder / METRICS
        with one_sentence(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            warn_of(cut_after(self.path, step), self.path, step)
            self.file = self.path.open("a")
        self.bar = tqdm(total=num_steps, initial=step, unit="step", disable=not sys.stderr.isatty(), leave=True)
        self.loggers = list(loggers(exp_manager, resolved, folder, step))

    def train(self, step: int, metrics: Mapping[str, float]) -> None:
        self.bar.update()
        self._write("train", step, metrics)
        self._show(step, "train", metrics)

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """One line a validation set."""
        if metrics:
            self._write("val", step, metrics)
            for name, of_set in by_set(metrics).items():
                self._show(step, f"val {name}", of_set)

    def say(self, message: str) -> None:
        tqdm.write(message, file=sys.stderr)

    def _write(self, kind: str, step: int, metrics: Mapping[str, float]) -> None:
        with one_sentence(self.path):
            self.file.write(json.dumps({"kind": kind, "step": step, **metrics}) + "\n")
            self.file.flush()
            for logger in self.loggers:
                logger.write(step, {tag(kind, name): value for name, value in metrics.items()})

    def _show(self, step: int, where: str, metrics: Mapping[str, float]) -> None:
        self.say(f"step {step}/{self.num_steps}  {where:11}  {one_line(metrics)}")

    def close(self) -> None:
        self.bar.close()
        with one_sentence(self.path):  # what a full disk has not taken is tried once more
            self.file.close()
        for logger in self.loggers:
            logger.close()


def warn_of(lost: Lost, path: Path, step: int) -> None:
    """What a resumed run does not write again."""
    if lost.cut:
        logger.warning("%s: what was cut short at its end is dropped (lines: %d)", path, lost.cut)
    if lost.steps:
        logger.warning(
            "%s: of the lines of steps 1 to %d %d are lost, the first is that of step %d",
            path, step, len(lost.steps), lost.steps[0],
        )  # fmt: skip


class NullLogger:
    """The log of every rank but 0."""

    def train(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def validation(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def say(self, message: str) -> None: ...
    def close(self) -> None: ...


def tag(kind: str, key: str) -> str:
    """As loggers group them: train/loss, val_pairs/accuracy."""
    return f"train/{key}" if kind == "train" else "val_" + "/".join(set_and_metric(key))


def one_line(metrics: Mapping[str, float]) -> str:
    """The metrics that a person follows, in one order; all are in metrics.jsonl."""
    return "  ".join(f"{name} {metrics[name]:.4g}" for name in SHOWN if name in metrics)
