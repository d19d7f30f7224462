"""How the training of a run went."""

from collections.abc import Iterator

from nemo_hs2pref.report.document import Block, Pictures, Section, Text
from nemo_hs2pref.report.drawing import MISSING, can_draw, joined, training_picture
from nemo_hs2pref.report.runs import Run
from nemo_hs2pref.run_metrics import METRICS


def training_section(run: Run) -> Section:
    return Section("Training", [*_blocks(run)])


def _blocks(run: Run) -> Iterator[Block]:
    if not run.metrics:
        yield Text(f"Not trained: this model is {run.made_of}." if run.made_of else f"No {METRICS}: no curves.")
        return
    yield Text(progress(run))
    if not can_draw():
        yield Text(MISSING)
        return
    yield Pictures([training_picture({run.name: run.metrics}, joined(run.name, "training"))])


def progress(run: Run) -> str:
    """How far it came, of how far it was to come."""
    step = run.metrics[-1]["step"]
    saved = run.checkpoints.get("checkpoints/last", {}).get("step")
    planned = ((run.config.get("trainer") or {}).get("rm") or {}).get("max_steps", -1)
    of = f" of at most {planned:,}" if planned > 0 else ""
    told = f"{step:,} optimizer steps{of} are logged"
    if saved is None:
        return f"{told}; there is no resume state, so the run is still going, or was stopped, or its state was removed."
    if saved < step:
        return f"{told}; the last checkpoint is of step {saved:,}, so the run is still going or was stopped."
    return f"{told}; the last checkpoint is of step {saved:,}."
