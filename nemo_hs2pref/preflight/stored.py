"""The checkpoint that a run starts from, by its small files and its index: no tensor is read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.checkpoint.file_list import read_file_list
from nemo_hs2pref.checkpoint.saved_run import read_saved_run
from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.errors import HS2PrefError
from nemo_hs2pref.preflight.check import Finding, failed, ok, skipped
from nemo_hs2pref.recipes.recipe import Recipe

COPY_AGAIN = "copy or convert it again; `hs2pref checkpoint verify` reads every byte"


def look_at_checkpoint(recipe: Recipe[Any], config: RunConfig) -> Iterator[Finding]:
    """It is whole by its index and its list of files, and its sizes fit the configuration and the layout."""
    base = Path(config.pretrained_checkpoint.restore_from_path)
    stored = opening.read_config(base)
    recipe.check(config, stored)
    shapes = shapes_of(base)
    yield from differences(base)
    sizes = ", ".join(f"{stored[key]} {name}" for key, name in (("num_layers", "layers"), ("hidden_size", "hidden")))
    parallel = f"TP {config.model.tensor_model_parallel_size} x PP {config.model.pipeline_model_parallel_size}"
    yield ok(f"{len(shapes)} tensors, {sizes}; {parallel} can be")


def look_at_resume_state(recipe: Recipe[Any], config: RunConfig, resolved: DictConfig) -> Iterator[Finding]:
    """Where the run folder holds a run, it is this one, and its resume state is whole."""
    last = layout.resume_path(Path(config.exp_manager.explicit_log_dir) / "checkpoints")
    if last is None or not config.exp_manager.resume_if_exists:
        yield skipped("the run starts anew")
        return
    saved = read_saved_run(last)
    recipe.refuse_other_run(config.exp_manager.explicit_log_dir, saved.run, resolved)
    shapes_of(last)
    yield from differences(last)
    yield ok(f"goes on after step {saved.step}")


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Tensor -> shape; raises CheckpointError where a weight file is missing or shorter than the index says."""
    from nemo_hs2pref.checkpoint.torch_dist.reading import StoredTensors  # heavy: torch

    entries = StoredTensors(opening.opened(path) / layout.WEIGHTS).entries
    return {name: shape for name, (shape, _) in entries.items()}


def differences(path: Path) -> Iterator[Finding]:
    """Files that are not as they were listed at save, by size; their first byte is read."""
    try:
        listed = (read_file_list(path) if path.is_dir() else None) or {}
    except HS2PrefError as error:
        yield failed(str(error), COPY_AGAIN)
        return
    for name, about in listed.items():
        file = path / name
        if not file.is_file():
            yield failed(f"{file} is missing", COPY_AGAIN)
        elif (size := file.stat().st_size) != about["bytes"]:
            yield failed(f"{file} has {size} bytes, was saved with {about['bytes']}", COPY_AGAIN)
        else:
            with file.open("rb") as stream:
                stream.read(1)
