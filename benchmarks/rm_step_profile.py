"""Where one step's time goes, and how far it is from what the machine's matrix product could do."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

OPTIMIZER = "optimizer step: norm, clip, update"
# group -> substrings of operator names; the first that fits takes the operator
GROUPS = {
    "attention (fused)": ("scaled_dot_product",),
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"),
    "data movement": ("copy", "clone", "cat", "fill", "zero", "empty", "index", "embedding", "resize", "stack"),
    "collectives": ("gloo", "c10d", "record_param_comms"),
    "element-wise, norms": ("aten::",),
}
PYTHON = "Python, autograd's and the schedule's own time"
SIZE = 2048  # of the square product that stands for the machine


def profile_step(
    step: Callable[[], dict[str, float]], trainable: Any, batches: Sequence[Any]
) -> tuple[str, dict[str, float]]:
    """Tables as text, and what `step` returned."""
    update = trainable.optimizer.step

    def recorded() -> Any:
        with record_function(OPTIMIZER):
            return update()

    trainable.optimizer.step = recorded
    rate = matmul_rate()
    with profile(activities=[ProfilerActivity.CPU]) as profiler, record_function(PYTHON):
        taken = step()
    trainable.optimizer.step = update
    rate = max(rate, matmul_rate())
    return f"\n{time_table(profiler)}\n\n{bound(trainable.model, batches, taken, rate)}", taken


def time_table(profiler: profile) -> str:
    """Self CPU time by group, with the three operators of each that took longest."""
    seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    calls: dict[str, int] = defaultdict(int)
    for event in profiler.events() or ():
        group = group_of(event)
        seconds[group][event.name.removeprefix("aten::")] += event.self_cpu_time_total / 1e6
        calls[group] += 1
    total = sum(sum(operators.values()) for operators in seconds.values())
    lines = ["| the profiled step | s | share | calls | most of it |", "|---|---|---|---|---|"]
    for group, operators in sorted(seconds.items(), key=lambda entry: -sum(entry[1].values())):
        spent = sum(operators.values())
        longest = sorted(operators.items(), key=lambda entry: -entry[1])[:4]
        names = ", ".join(f"{name} {value:.2f}" for name, value in longest)
        lines.append(f"| {group} | {spent:.2f} | {spent / total:.0%} | {calls[group]} | {names} |")
    return "\n".join(lines)


def group_of(event: Any) -> str:
    ancestor = event
    while ancestor is not None:
        if ancestor.name == OPTIMIZER:
            return OPTIMIZER
        ancestor = ancestor.cpu_parent
    fits = (group for group, parts in GROUPS.items() if any(part in event.name for part in parts))
    return next(fits, PYTHON)


def matmul_rate() -> float:
    """FLOP/s of a square float32 product, the best of ten."""
    left, right = torch.randn(2, SIZE, SIZE).unbind()
    times = []
    for _ in range(10):
        started = time.perf_counter()
        torch.mm(left, right)
        times.append(time.perf_counter() - started)
    return 2 * SIZE**3 / min(times)


def bound(model: Any, batches: Sequence[Any], taken: dict[str, float], rate: float) -> str:
    """The step's arithmetic against `rate`: 2 FLOP a weight and token forward, 4 backward, and causal attention.

    The embedding is a look-up. Attention is two products of S x S/2 x d forward and four backward, in each layer.
    """
    (module,) = model.get_model_module_list()
    weights = sum(p.numel() for name, p in module.named_parameters() if "embedding" not in name)
    width = model.cfg.num_attention_heads * model.cfg.kv_channels
    lengths = torch.cat([batch.tokens.lengths for batch in batches]).double()
    linear = 6 * weights * taken["tokens"]
    attention = 6 * model.cfg.num_layers * width * float(lengths.square().sum())
    least = (linear + attention) / rate
    return (
        f"arithmetic of {taken['tokens']:.0f} tokens: 6 x {weights / 1e6:.1f}e6 weights x tokens = {linear / 1e9:.0f} "
        f"GFLOP, causal attention {attention / 1e9:.0f} GFLOP; at the {rate / 1e9:.0f} GFLOP/s of a {SIZE} x {SIZE} "
        f"product here {least:.2f} s; the profiled step took {taken['seconds']:.2f} s: {least / taken['seconds']:.0%} "
        f"of the matrix product's peak"
    )
