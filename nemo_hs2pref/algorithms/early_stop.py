"""End a run when validation no longer improves."""

from collections.abc import Mapping
from dataclasses import dataclass

from nemo_hs2pref.checkpoint.train_state import TrainState


@dataclass(frozen=True)
class EarlyStop:
    """Stop after `patience` validations in a row that did not improve on the best one by more than `min_delta`."""

    monitor: str  # a validation metric, as val_pairs_accuracy
    mode: str  # min or max
    patience: int
    min_delta: float

    def note(self, progress: TrainState, metrics: Mapping[str, float]) -> None:
        """Record this validation in `progress`, which the resume state keeps."""
        value = metrics[self.monitor]
        best = progress.early_stop_best
        if best is None or self._gain(value, best) > self.min_delta:
            progress.early_stop_best, progress.early_stop_waited = value, 0
        else:
            progress.early_stop_waited += 1

    def is_reached(self, progress: TrainState) -> bool:
        """Whether the run ends here; started again with more patience, it goes on."""
        return progress.early_stop_waited >= self.patience

    def _gain(self, value: float, best: float) -> float:
        return best - value if self.mode == "min" else value - best

    def __str__(self) -> str:
        return f"{self.monitor} did not improve by more than {self.min_delta:g} in {self.patience} validation(s)"
