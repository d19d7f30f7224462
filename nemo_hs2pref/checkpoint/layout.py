"""The folder that a checkpoint is: an unpacked .nemo file, with our manifest beside it.

model_config.yaml   NeMo's model section, with the loss it was trained with
model_weights/      torch_dist: whole tensors under global names, readable in any TP and PP layout;
                    of a LoRA run adapters and head only, and model_config.yaml has `peft`
tokenizer/          Hugging Face tokenizer
hs2pref.json        what it is: source or run, step, metrics; the mean and std of its rewards once measured; of a
                    LoRA run its base
training_state/     only in a run's resume state: optimizer, schedule, counters, random state
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nemo_hs2pref.data.jsonl import replacing
from nemo_hs2pref.errors import CheckpointError

CONFIG = "model_config.yaml"
WEIGHTS = "model_weights"
TOKENIZER = "tokenizer"
MANIFEST = "hs2pref.json"
TRAINING_STATE = "training_state"


def read_config(path: Path) -> dict[str, Any]:
    """NeMo's model section of the whole model at `path`; raises CheckpointError where there is none."""
    config = read_any_config(path)
    if has_adapters(config):
        raise CheckpointError(
            f"{path}: LoRA adapters, not a whole model; merge them first: hs2pref convert merge-lora {path} DST"
        )
    return config


def read_adapter_config(path: Path) -> dict[str, Any]:
    """NeMo's model section of the LoRA adapters at `path`, with `peft`; raises CheckpointError where there are none."""
    config = read_any_config(path)
    if not has_adapters(config) or "base" not in read_manifest(path):
        raise CheckpointError(f"{path}: no adapters; expected a checkpoint of `hs2pref train rm peft=lora`")
    return config


def has_adapters(config: Mapping[str, Any]) -> bool:
    """Aligner writes `peft` for whole models too, with the scheme none or null."""
    return (config.get("peft") or {}).get("peft_scheme") not in (None, "none")


def read_any_config(path: Path) -> dict[str, Any]:
    """Either, without Aligner's `reward_standardization`: what comes of these weights has other rewards."""
    file = path / CONFIG
    if not file.is_file():
        raise CheckpointError(f"{path}: no checkpoint ({CONFIG} not found); expected an unpacked .nemo folder")
    if not (path / WEIGHTS / "metadata.json").is_file():
        raise CheckpointError(f"{path / WEIGHTS}: incomplete (metadata.json not found); copy or save it again")
    config = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items() if key != "reward_standardization"}


def read_manifest(path: Path) -> dict[str, Any]:
    """Our manifest; empty for a checkpoint that others wrote."""
    file = path / MANIFEST
    return json.loads(file.read_text()) if file.is_file() else {}


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write or replace our manifest; a reader finds the old one or the new one, never a part."""
    with replacing(path / MANIFEST) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n")


def write_small_files(folder: Path, config: Mapping[str, Any], manifest: Mapping[str, Any], tokenizer: Path) -> None:
    """Everything but the tensors."""
    OmegaConf.save(OmegaConf.create(dict(config)), folder / CONFIG)
    write_manifest(folder, manifest)
    shutil.copytree(tokenizer, folder / TOKENIZER)


@contextmanager
def written_whole(destination: Path) -> Iterator[Path]:
    """A folder beside `destination` that takes its name when the block ends well, and is removed otherwise."""
    folder = destination.with_name(destination.name + ".incomplete")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    folder.rename(destination)
