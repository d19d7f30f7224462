"""What a run will be: layout, batches, steps, parameters, memory and disk, as numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemo_hs2pref.config.architecture import Architecture, architecture_of
from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.data.manifest import outputs_of
from nemo_hs2pref.launch.plan.activations import has_fused_kernels, micro_batch_of, num_micro_batches
from nemo_hs2pref.launch.plan.layout import Layout, layout_of
from nemo_hs2pref.launch.plan.memory import GIB, SHARE, RankMemory, fits_within, rank_memory, recomputing
from nemo_hs2pref.launch.plan.nearest import Change, changed, nearest, refuse
from nemo_hs2pref.launch.plan.parameters import ending_of, rank_parameters, whole_model
from nemo_hs2pref.launch.plan.saves import Saves, saves_of
from nemo_hs2pref.launch.plan.states import MAIN_PARAMETER, MOMENTS, width
from nemo_hs2pref.recipes.recipe import Recipe


@dataclass(frozen=True)
class Stage:
    """One pipeline stage."""

    ranks: range
    nodes: range
    layers: range  # counted from 0
    parts: tuple[str, ...]  # besides layers
    parameters: int  # on each of its ranks
    memory: RankMemory


@dataclass(frozen=True)
class BatchArithmetic:
    """Of an optimizer step and of the run."""

    unit: str  # responses or pairs
    items: int  # a step
    micro_batch_items: int
    micro_batches: int  # of a data-parallel rank, one after the other
    rows: int  # of a micro batch
    row_length: int  # tokens at most
    packed: bool
    train_items: int | None  # None where the data are not there
    steps: int | None  # None where neither the data nor max_steps tell


@dataclass(frozen=True)
class Disk:
    """Bytes of checkpoints."""

    weights: int  # of one checkpoint
    training_state: int  # beside them in the resume state
    best: int  # weights kept besides it

    @property
    def resume_state(self) -> int:
        return self.weights + self.training_state

    @property
    def at_rest(self) -> int:
        return self.resume_state + self.weights * self.best

    @property
    def peak(self) -> int:
        """A resume state is written beside the one that it replaces."""
        return self.at_rest + self.resume_state


@dataclass(frozen=True)
class Plan:
    layout: Layout
    stages: list[Stage]
    batch: BatchArithmetic
    parameters: int
    trained: int
    fused: bool  # activations counted for Transformer Engine's kernels
    activations: dict[bool, dict[str, int]]  # sequence parallel -> recomputation -> bytes on the fullest rank
    disk: Disk
    saves: Saves | None  # None where the steps are not known
    limit: float  # bytes of a GPU
    thriftier: Change | None  # the nearest that fits, where this does not

    @property
    def fullest(self) -> Stage:
        return max(self.stages, key=lambda stage: stage.memory.total)

    @property
    def fits(self) -> bool:
        return self.fullest.memory.total <= SHARE * self.limit


def make_plan(recipe: Recipe[Any], config: RunConfig, checkpoint: Mapping[str, Any], gpu_memory: float) -> Plan:
    """`gpu_memory`: GiB of one GPU. Raises ConfigError with the broken rules and the nearest layout that works."""
    refuse(recipe, config, checkpoint)
    architecture, layout = architecture_of(config, checkpoint), layout_of(config)
    fused, limit = has_fused_kernels(config), gpu_memory * GIB
    whole, batch = whole_model(config, architecture), batch_of(config, layout)
    fits = fits_within(architecture, limit, fused=fused)
    return Plan(
        layout=layout,
        stages=[stage_of(config, architecture, layout, stage, fused) for stage in range(layout.pipeline)],
        batch=batch,
        parameters=sum(p.size for p in whole),
        trained=sum(p.size for p in whole if p.trained),
        fused=fused,
        activations=alternatives(config, architecture, fused),
        disk=disk_of(config, architecture),
        saves=saves_of(config, batch.steps) if batch.steps else None,
        limit=limit,
        thriftier=None if fits(config) else nearest(recipe, config, checkpoint, fits, thrifty=True),
    )


def stage_of(config: RunConfig, architecture: Architecture, layout: Layout, stage: int, fused: bool) -> Stage:
    ranks = layout.ranks(stage)
    parts = ("embedding",) * (stage == 0) + ("final norm", *ending_of(config)) * (stage == layout.pipeline - 1)
    return Stage(
        ranks,
        range(ranks[0] // layout.devices, ranks[-1] // layout.devices + 1),
        layout.layers(stage, architecture.num_layers),
        parts,
        sum(p.size for p in rank_parameters(config, architecture, layout, stage)),
        rank_memory(config, architecture, stage, fused=fused),
    )


def batch_of(config: RunConfig, layout: Layout) -> BatchArithmetic:
    micro_batch, items = micro_batch_of(config), items_in(Path(config.data.dir), config.data.train)
    return BatchArithmetic(
        config.unit,
        config.model.global_batch_size,
        config.model.micro_batch_size,
        num_micro_batches(config, layout),
        micro_batch.rows,
        micro_batch.row_length,
        micro_batch.packed,
        items,
        num_steps(config, items),
    )


def items_in(folder: Path, file: str) -> int | None:
    """Rows by the manifest of `hs2pref data prepare`; ties are not among them."""
    output = outputs_of(folder).get(file)
    return output.rows if output else None


def num_steps(config: RunConfig, items: int | None) -> int | None:
    """As data.sampling.GlobalBatches counts them, which needs torch; at most max_steps where the data are unknown."""
    loop = config.loop
    if items is None:
        return loop.max_steps if loop.max_steps > 0 else None
    by_epochs = loop.max_epochs * items // config.model.global_batch_size
    return by_epochs if loop.max_steps < 0 else min(by_epochs, loop.max_steps)


def alternatives(config: RunConfig, architecture: Architecture, fused: bool) -> dict[bool, dict[str, int]]:
    """Activations on the fullest rank with and without sequence parallelism and recomputation."""
    cuts = (True, False) if config.model.tensor_model_parallel_size > 1 else (False,)
    return {
        cut: {
            name: max(
                rank_memory(
                    changed(config, {"sequence_parallel": cut, **recomputing(granularity)}),
                    architecture,
                    stage,
                    fused=fused,
                ).activations
                for stage in range(config.model.pipeline_model_parallel_size)
            )
            for name, granularity in (("none", None), ("selective", "selective"), ("full", "full"))
        }
        for cut in cuts
    }


def disk_of(config: RunConfig, architecture: Architecture) -> Disk:
    """With adapters, these and the head alone; the optimizer stores float32 parameters in every precision."""
    stored = [p for p in whole_model(config, architecture) if p.trained]
    return Disk(
        weights=sum(p.size * width(p, config.trainer.precision) for p in stored),
        training_state=sum(p.size for p in stored) * (MAIN_PARAMETER + MOMENTS),
        best=config.exp_manager.checkpoint_callback_params.save_top_k,
    )
