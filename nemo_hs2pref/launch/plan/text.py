"""A plan for people, and for programs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from nemo_hs2pref.launch.plan.memory import GIB, NOT_COUNTED, SHARE
from nemo_hs2pref.launch.plan.nearest import Change, overrides_of
from nemo_hs2pref.launch.plan.plan import Plan, Stage
from nemo_hs2pref.launch.plan.saves import RATE

GB = 1e9  # disks count in these


def lines(plan: Plan) -> Iterator[str]:
    yield from layout_lines(plan)
    yield from batch_lines(plan)
    yield from memory_lines(plan)
    yield from disk_lines(plan)
    yield from save_lines(plan)
    yield verdict(plan)


def layout_lines(plan: Plan) -> Iterator[str]:
    layout = plan.layout
    yield (
        f"layout       {layout.world} ranks, {layout.nodes} x {layout.devices}: tensor {layout.tensor} x pipeline "
        f"{layout.pipeline} x data {layout.data}{tensor_groups(plan)}"
    )
    rows = [
        [str(i), span(s.ranks), span(s.nodes), span(s.layers, 1), ", ".join(s.parts) or "-", f"{s.parameters:,}"]
        for i, s in enumerate(plan.stages)
    ]
    yield from table(["stage", "ranks", "nodes", "layers", "also", "parameters a rank"], rows)
    trained = "all trained" if plan.trained == plan.parameters else f"{plan.trained:,} trained"
    yield f"parameters   {plan.parameters:,}, {trained}"


def tensor_groups(plan: Plan) -> str:
    size, here = plan.layout.tensor, plan.layout.tensor_groups_a_node
    if size == 1:
        return ""
    return f"; tensor groups of {size} neighbours, {f'{here} on each node' if here else 'across nodes, which is slow'}"


def batch_lines(plan: Plan) -> Iterator[str]:
    batch, data = plan.batch, plan.layout.data
    yield (
        f"batch        {batch.items} {batch.unit} a step = data {data} x {batch.micro_batches} micro batches x "
        f"{batch.micro_batch_items}"
    )
    tokens = batch.rows * batch.row_length
    how = "packed" if batch.packed else "padded to the longest"
    yield (
        f"             a micro batch: {batch.rows} rows, {how}, at most {tokens:,} tokens; a step: at most "
        f"{tokens * batch.micro_batches * data:,}"
    )
    items = "data.dir has no manifest" if batch.train_items is None else f"{batch.train_items:,} {batch.unit}"
    steps = "by the epochs" if batch.steps is None else f"{batch.steps:,}"
    yield f"steps        {steps}{' at most' if batch.steps and batch.train_items is None else ''} ({items})"


def memory_lines(plan: Plan) -> Iterator[str]:
    kernels = "Transformer Engine's" if plan.fused else "torch's"
    yield f"memory       GiB on the fullest rank of a stage; states exact, activations computed for {kernels} kernels"
    head = ["stage", "weights", "gradients", "optimizer", "activations", "working", "total"]
    yield from table(head, [[str(i), *memory_row(stage)] for i, stage in enumerate(plan.stages)])
    yield "             activations by recomputation (model.activations_checkpoint_granularity):"
    rows = [
        [f"sequence_parallel={str(cut).lower()}", *(gib(value) for value in by_name.values())]
        for cut, by_name in plan.activations.items()
    ]
    yield from table(["", "none", "selective", "full"], rows)
    yield f"             not counted: {NOT_COUNTED}"


def memory_row(stage: Stage) -> list[str]:
    memory = stage.memory
    parts = (memory.weights, memory.gradients, memory.optimizer, memory.activations, memory.working, memory.total)
    return [gib(part) for part in parts]


def disk_lines(plan: Plan) -> Iterator[str]:
    disk = plan.disk
    yield (
        f"checkpoints  weights {disk.weights / GB:.1f} GB; resume state with the optimizer's "
        f"{disk.resume_state / GB:.1f} GB; kept: 1 resume state, {disk.best} best weights"
    )
    yield f"disk         {disk.at_rest / GB:.1f} GB at rest, {disk.peak / GB:.1f} GB while a resume state is replaced"


def save_lines(plan: Plan) -> Iterator[str]:
    """Nothing is trained meanwhile."""
    disk, saves = plan.disk, plan.saves
    if saves is None:
        yield f"saves        resume states of {disk.resume_state / GB:.1f} GB, {writing(disk.resume_state)} each"
        return
    total = saves.resume_states * disk.resume_state
    yield f"saves        {saves.resume_states} resume states, {total / GB:.1f} GB: {writing(total)}"
    if saves.best_weights:
        total = saves.best_weights * disk.weights
        yield f"             best weights, {saves.best_weights} times at most, {total / GB:.1f} GB: {writing(total)}"


def writing(size: float) -> str:
    """How long it takes."""
    seconds = size / RATE
    time = next((f"{seconds / s:.1f} {unit}" for unit, s in (("h", 3600), ("min", 60)) if seconds >= s), "under 1 min")
    return f"{time} at {RATE / GB:g} GB/s (assumed)"


def verdict(plan: Plan) -> str:
    limit, total = plan.limit / GIB, gib(plan.fullest.memory.total)
    if plan.fits:
        return f"fits         {total} of {limit:g} GiB on the fullest rank; at most {SHARE:.0%} are planned for"
    way = "no layout of these GPUs does: take more nodes" + ", or peft=lora" * (plan.trained == plan.parameters)
    if plan.thriftier is not None:
        way = f"nearest that does: {' '.join(overrides_of(plan.thriftier))}"
    return f"does not fit {total} GiB on the fullest rank; at most {SHARE:.0%} of {limit:g} are planned for; {way}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns to the right, under the text."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        yield " " * 13 + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))


def span(numbers: range, first: int = 0) -> str:
    start, end = numbers[0] + first, numbers[-1] + first
    return f"{start}-{end}" if end > start else str(start)


def gib(size: float) -> str:
    return f"{size / GIB:.2f}" if size < 10 * GIB else f"{size / GIB:.1f}"


def refusal_as_json(faults: Sequence[str], change: Change | None) -> dict[str, Any]:
    return {"works": False, "faults": list(faults), "nearest_that_works": overrides_of(change) if change else None}


def as_json(plan: Plan) -> dict[str, Any]:
    """Bytes and numbers; ranges as [first, last], layers counted from 1 as in the text."""
    stages = [
        {
            "ranks": [stage.ranks[0], stage.ranks[-1]],
            "nodes": [stage.nodes[0], stage.nodes[-1]],
            "layers": [stage.layers[0] + 1, stage.layers[-1] + 1],
            "parts": list(stage.parts),
            "parameters_a_rank": stage.parameters,
            "memory_bytes": asdict(stage.memory) | {"total": stage.memory.total},
        }
        for stage in plan.stages
    ]
    return {
        "works": True,
        "fits": plan.fits,
        "layout": asdict(plan.layout) | {"world": plan.layout.world},
        "stages": stages,
        "parameters": {"total": plan.parameters, "trained": plan.trained},
        "batch": asdict(plan.batch),
        "activation_bytes": {
            f"sequence_parallel={str(cut).lower()}": by_name for cut, by_name in plan.activations.items()
        },
        "disk_bytes": asdict(plan.disk) | {"at_rest": plan.disk.at_rest, "peak": plan.disk.peak},
        "saves": asdict(plan.saves) if plan.saves else None,
        "gpu_memory_bytes": plan.limit,
        "nearest_that_fits": overrides_of(plan.thriftier) if plan.thriftier else None,
        "not_counted": NOT_COUNTED,
    }
