"""A run's log: one line a step, metrics.jsonl for programs, TensorBoard for people. Rank 0 writes."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

SHOWN = ("loss", "accuracy", "margin", "reward_mean", "reward_std", "grad_norm", "lr", "tokens_per_s", "step_s")
METRICS = "metrics.jsonl"


class RunLog:
    """Writes into `folder`; lines after `step` are from a run that was stopped and are cut off."""

    def __init__(self, folder: Path, *, step: int, num_steps: int, tensorboard: bool, is_writer: bool) -> None:
        self.is_writer = is_writer
        if not is_writer:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self.num_steps = num_steps
        self.path = folder / METRICS
        cut_after(self.path, step)
        self.file = self.path.open("a")
        self.bar = tqdm(total=num_steps, initial=step, unit="step", disable=not sys.stderr.isatty(), leave=True)
        self.board = None
        if tensorboard:
            from torch.utils.tensorboard.writer import SummaryWriter  # heavy, and optional

            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def train(self, step: int, metrics: Mapping[str, float]) -> None:
        if self.is_writer:
            self.bar.update()
            self._write("train", step, metrics)

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        if self.is_writer and metrics:
            self._write("val", step, metrics)

    def _write(self, kind: str, step: int, metrics: Mapping[str, float]) -> None:
        self.file.write(json.dumps({"kind": kind, "step": step, **metrics}) + "\n")
        self.file.flush()
        for name, value in metrics.items():
            if self.board is not None:
                self.board.add_scalar(f"{kind}/{name.removeprefix('val_')}", value, step)
        tqdm.write(f"step {step}/{self.num_steps}  {kind:5}  {one_line(metrics)}", file=sys.stderr)

    def close(self) -> None:
        if self.is_writer:
            self.bar.close()
            self.file.close()
            if self.board is not None:
                self.board.close()


def one_line(metrics: Mapping[str, float]) -> str:
    """The metrics that a person follows, in one order."""
    plain = {name.removeprefix("val_"): value for name, value in metrics.items()}
    return "  ".join(f"{name} {plain[name]:.4g}" for name in SHOWN if name in plain)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; a line that a kill cut short is left out."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    rows: list[dict[str, Any]] = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def cut_after(path: Path, step: int) -> None:
    """Drop the lines after `step`: the resumed run writes them again."""
    rows = [row for row in read_metrics(path) if row["step"] <= step]
    if path.exists():
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))
        temporary.replace(path)
