"""A run's checkpoints: one resume state (`last`, a complete checkpoint) and the best k weights.

A checkpoint is written under another name and renamed, so that a kill, a full disk or a node that crashes leaves the
one before it whole.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nemo_hs2pref import __version__
from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.checkpoint.megatron.training_state import save_training_state
from nemo_hs2pref.checkpoint.megatron.weights import save_weights
from nemo_hs2pref.checkpoint.torch_dist.refusals import kind_not_written, reason_not_written
from nemo_hs2pref.checkpoint.train_state import TrainState
from nemo_hs2pref.config.schema.common import CheckpointParams
from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.files import replace_folder
from nemo_hs2pref.models.megatron.collectives import sum_over_model_parallel
from nemo_hs2pref.models.trainable import TrainedModel
from nemo_hs2pref.runtime.process import stop_signals
from nemo_hs2pref.runtime.run.checkpoint_files import list_files


@dataclass(frozen=True)
class CheckpointManager:
    """Saves under `folder`; every rank calls it, rank 0 moves folders."""

    folder: Path
    model: TrainedModel
    optimizer: Any
    scheduler: Any
    params: CheckpointParams
    config: Mapping[str, Any]  # model_config.yaml
    tokenizer: Path
    origin: Mapping[str, Any]  # for the manifest: the run's resolved configuration, the base of adapters

    def keep_if_best(self, progress: TrainState, metrics: Mapping[str, float]) -> None:
        """Keep the weights where the monitored metric is among the best k."""
        k = self.params.save_top_k
        if k == 0 or not metrics:
            return
        value = metrics[self.params.monitor]
        sign = 1 if self.params.mode == "min" else -1
        better = [entry for entry in progress.best if sign * entry["value"] <= sign * value]
        if len(better) >= k:
            return
        name = f"step_{progress.step:06d}"
        self._write(name, progress, metrics, self._save_weights)
        progress.best[:] = sorted([*progress.best, {"folder": name, "value": value}], key=lambda e: sign * e["value"])
        for entry in progress.best[k:]:
            self._on_rank_0(lambda old=entry["folder"]: shutil.rmtree(self.folder / old, ignore_errors=True))
        del progress.best[k:]

    def save_resume_state(self, progress: TrainState, metrics: Mapping[str, float]) -> None:
        """Replace the resume state."""

        def save(folder: Path) -> None:
            self._save_weights(folder)
            save_training_state(self.model, self.optimizer, self.scheduler, progress, folder)

        self._write(layout.LAST, progress, metrics, save, training_state=True)

    def _save_weights(self, folder: Path) -> None:
        save_weights(self.model, folder)

    def _write(
        self,
        name: str,
        progress: TrainState,
        metrics: Mapping[str, float],
        save: Callable[[Path], None],
        training_state: bool = False,
    ) -> None:
        self._refuse_full_disk(training_state)
        temporary = self.folder / f"{name}.incomplete"
        manifest = {
            "tool_version": __version__,
            "step": progress.step,
            "items": progress.items,
            "metrics": dict(metrics),
            **self.origin,
        }

        def begin() -> None:
            for leftover in self.folder.glob("*.incomplete"):  # of a run that was killed
                shutil.rmtree(leftover, ignore_errors=True)
            temporary.mkdir(parents=True)
            layout.write_small_files(temporary, self.config, manifest, self.tokenizer)
            (temporary / layout.WEIGHTS).mkdir()
            if training_state:
                (temporary / layout.TRAINING_STATE).mkdir()

        with stop_signals.saving(), self._written_whole(temporary, progress.step):
            self._on_rank_0(begin)
            save(temporary)
            torch.distributed.barrier()
            list_files(temporary)
            self._on_rank_0(lambda: replace_folder(temporary, self.folder / name, self.folder / f"{name}.old"))

    @contextmanager
    def _written_whole(self, temporary: Path, step: int) -> Iterator[None]:
        """Remove the folder where this rank fails while it is written; a full disk and the like become one sentence.

        The other ranks wait for this one when it fails and are stopped, so that nothing writes into it meanwhile:
        megatron-core reports what its writers met after all ranks have written.
        """
        try:
            yield
        except BaseException as error:
            shutil.rmtree(temporary, ignore_errors=True)
            reason = reason_not_written(error)
            if reason is None:
                raise
            raise kind_not_written(error)(
                f"{self.folder}: the checkpoint of step {step} cannot be written ({reason}); "
                f"put that right and {self._way_on()}"
            ) from error

    def _way_on(self) -> str:
        previous = layout.resume_path(self.folder)
        if previous is None:
            return "start again; there is no earlier one to resume from"
        return f"start again, the run resumes after step {opening.read_manifest(previous)['step']}"

    def _refuse_full_disk(self, training_state: bool) -> None:
        """Free space for the checkpoint, before anything is written; the same answer on every rank.

        Computed: trained parameters in their dtype, and three float32 numbers a parameter for the optimizer.
        """
        trained = [p for p in self.model.parameters() if p.requires_grad]
        size = sum(p.numel() * (p.element_size() + 12 * training_state) for p in trained)
        self.folder.mkdir(parents=True, exist_ok=True)
        free = self._smallest(shutil.disk_usage(self.folder).free)
        needed = sum_over_model_parallel(size, self.model.device) * layout.SPARE
        if free < needed:
            raise CheckpointError(
                f"{self.folder}: a checkpoint needs {needed / 1e9:.1f} GB (computed), {free / 1e9:.1f} GB are free; "
                f"make room and {self._way_on()}"
            )

    def _smallest(self, value: float) -> float:
        """Over all ranks: the nodes need not see the same disk."""
        least = torch.tensor(value, dtype=torch.float64, device=self.model.device)
        torch.distributed.all_reduce(least, op=torch.distributed.ReduceOp.MIN)
        return least.item()

    def _on_rank_0(self, action: Callable[[], object]) -> None:
        if torch.distributed.get_rank() == 0:
            action()
        torch.distributed.barrier()
