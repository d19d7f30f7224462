"""ExPO (arXiv 2404.16792; HelpSteer2-Preference section 4): C = A + alpha (B - A) on backbone and head; and averages.

A is the weak model (regression), B the strong one trained from it (scaled Bradley-Terry); alpha 1 is B. The paper
takes 1.52. An average of reward models is WARM (arXiv 2401.12187). No model is built and no GPU is needed; a tensor is
read, or a layer of one, combined and written before the next.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from nemo_hs2pref.checkpoint import layout
from nemo_hs2pref.checkpoint.finite import refuse_not_finite
from nemo_hs2pref.checkpoint.merging.model import Model, size_bytes
from nemo_hs2pref.checkpoint.merging.models import open_models
from nemo_hs2pref.errors import CheckpointError, ConfigError
from nemo_hs2pref.functional import average, extrapolate

BLOCK = 2**22  # numbers that are widened to float32 at once
OTHER_WEAK = "give as --weak the model from which the strong one was trained"
Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Output(Generic[Loaded]):
    """A model to write: where, its tensor of what was loaded, and what its manifest says."""

    path: Path
    tensor: Callable[[Loaded], Tensor]
    about: Mapping[str, Any]


def extrapolate_checkpoints(weak: Path, strong: Path, outs: Mapping[float, Path]) -> int:
    """Write, for each alpha -> folder of `outs`, a checkpoint that must not exist, in one pass over the two.

    Returns the number of tensors. Raises CheckpointError naming the first setting or tensor in which the two differ,
    or where the two are one model: every alpha would give that model again.
    """
    if strange := [alpha for alpha in outs if not isfinite(alpha)]:
        raise ConfigError(f"--alpha {strange[0]}: expected a finite number")
    refuse_existing(outs.values())
    models = open_models([weak, strong])
    if weak.resolve() == strong.resolve():
        raise CheckpointError(f"{weak} and {strong} are the same folder; {OTHER_WEAK}")
    differs = False

    def pair(name: str, layer: int | None) -> tuple[Tensor, Tensor]:
        nonlocal differs
        read = models[0].read(name, layer), models[1].read(name, layer)
        differs = differs or not torch.equal(*read)
        return read

    def refuse_equal() -> None:
        if not differs:
            raise CheckpointError(f"{weak} and {strong} have the same weights; {OTHER_WEAK}")

    def output(alpha: float, out: Path) -> Output[tuple[Tensor, Tensor]]:
        about = {"extrapolated": {"weak": str(weak), "strong": str(strong), "alpha": alpha}}
        return Output(out, lambda loaded: extrapolate_in_blocks(*loaded, alpha), about)

    return write(models[1], pair, [output(alpha, out) for alpha, out in outs.items()], refuse_equal)


def average_checkpoints(paths: Sequence[Path], weights: Sequence[float] | None, out: Path) -> int:
    """Write the average of two or more models as `out`, which must not exist; returns the number of tensors.

    weights: one a model, divided by their sum; None: all alike. Configuration and tokenizer are the first model's.
    """
    weights = weights or [1.0] * len(paths)
    if len(paths) < 2 or len(weights) != len(paths):
        raise ConfigError(
            f"--average: {len(paths)} models and {len(weights)} weights; give two or more, one weight each"
        )
    if not (all(0 <= weight < float("inf") for weight in weights) and sum(weights) > 0):
        raise ConfigError(f"--weights {weights}: expected finite numbers of at least 0, not all 0")
    refuse_existing([out])
    models = open_models(paths)

    def mean(name: str, layer: int | None) -> Tensor:
        return average((model.read(name, layer) for model in models), weights)

    about = {"averaged": [{"model": str(path), "weight": w} for path, w in zip(paths, weights, strict=True)]}
    return write(models[0], mean, [Output(out, lambda loaded: loaded, about)])


def write(
    model: Model,
    load: Callable[[str, int | None], Loaded],
    outputs: Sequence[Output[Loaded]],
    look: Callable[[], None] = lambda: None,
) -> int:
    """All outputs in one pass over what `load` reads; configuration and tokenizer are `model`'s.

    look: called when all is read; what it raises leaves no output.
    """
    layout.refuse_full_disk(outputs[0].path, len(outputs) * size_bytes(model))
    with ExitStack() as stack:
        writers = [stack.enter_context(model.writer(output.path, output.about)) for output in outputs]
        for name, layer in tqdm(model.parts(), "writing", unit=" tensors", disable=None):
            loaded = load(name, layer)
            for output, writer in zip(outputs, writers, strict=True):
                tensor = output.tensor(loaded)
                refuse_not_finite(tensor, name, f"{output.path}: not written")
                writer(tensor)
            del loaded  # not kept while the next one is read
        look()
        assert all(writer.is_complete for writer in writers)
    return len(model.entries)


def refuse_existing(outs: Iterable[Path]) -> None:
    for out in outs:
        layout.refuse_existing(out)


def extrapolate_in_blocks(weak: Tensor, strong: Tensor, alpha: float) -> Tensor:
    """functional.extrapolate, which widens to float32, with memory for the result alone."""
    out = torch.empty(weak.shape, dtype=weak.dtype)
    for a, b, c in zip(*(tensor.reshape(-1).split(BLOCK) for tensor in (weak, strong, out)), strict=True):
        c.copy_(extrapolate(a, b, alpha))
    return out
