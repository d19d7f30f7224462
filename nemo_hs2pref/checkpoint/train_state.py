"""Where a run stands."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class TrainState:
    """Counters of a run."""

    step: int = 0  # optimizer steps done
    items: int = 0  # items consumed
    best: list[dict[str, Any]] = field(default_factory=list)  # kept weights: {"folder", "value"}, best first
    early_stop_best: float | None = None  # best value that early stop has seen
    early_stop_waited: int = 0  # validations since
    validation_due: bool = False  # after this step, and not done: the run was stopped before
