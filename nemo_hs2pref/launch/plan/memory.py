"""Memory of a rank, in bytes: states exactly, activations computed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nemo_hs2pref.config.architecture import Architecture
from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.launch.plan.activations import LayerActivations, micro_batch_of, stored_activations
from nemo_hs2pref.launch.plan.layout import layout_of
from nemo_hs2pref.launch.plan.parameters import rank_parameters
from nemo_hs2pref.launch.plan.states import gradient_bytes, optimizer_bytes, weight_bytes, width

GIB = 2**30
SHARE = 0.9  # of a GPU may be planned for: what is not counted needs the rest [ours; not measured on a GPU]
NOT_COUNTED = "CUDA context, NCCL's buffers, fragmentation of the allocator, loading a checkpoint"


@dataclass(frozen=True)
class RankMemory:
    """Bytes on the fullest rank of a pipeline stage."""

    weights: int
    gradients: int  # float32
    optimizer: int  # this rank's share of float32 parameters and AdamW's moments
    activations: int  # kept for backward, of all micro batches in flight
    working: int  # gradients of activations and of the embedding while backward runs: an estimate

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations + self.working


def rank_memory(config: RunConfig, architecture: Architecture, stage: int, *, fused: bool) -> RankMemory:
    """`fused`: with Transformer Engine's and Apex's kernels, else with torch's."""
    layout, precision = layout_of(config), config.trainer.precision
    parameters = rank_parameters(config, architecture, layout, stage)
    backward = LayerActivations(config, architecture, fused=fused).backward(micro_batch_of(config))
    # torch makes the embedding's gradient anew in every micro batch, then adds it to the float32 one
    embedding = [p.size * width(p, precision) for p in parameters if p.name == "embedding" and p.trained]
    return RankMemory(
        weights=weight_bytes(parameters, precision, layout.data),
        gradients=gradient_bytes(parameters, precision, layout.data),
        optimizer=max(optimizer_bytes(parameters, precision, layout.data)),
        activations=stored_activations(config, architecture, layout, stage, fused=fused),
        working=max([backward, *embedding]),
    )


def fits_within(architecture: Architecture, limit: float, *, fused: bool) -> Callable[[RunConfig], bool]:
    """Does every rank of a configuration need at most SHARE of `limit` bytes."""

    def fits(config: RunConfig) -> bool:
        stages = range(config.model.pipeline_model_parallel_size)
        return all(rank_memory(config, architecture, s, fused=fused).total <= SHARE * limit for s in stages)

    return fits


def recomputing(granularity: str | None) -> dict[str, Any]:
    """The keys of model that choose recomputation; full in its thriftiest form, layer by layer."""
    is_full = granularity == "full"
    return {
        "activations_checkpoint_granularity": granularity,
        "activations_checkpoint_method": "uniform" if is_full else None,
        "activations_checkpoint_num_layers": 1 if is_full else None,
    }
