"""A checkpoint by its path, whoever wrote it: the folder of our layout, the configuration and the manifest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nemo_hs2pref.checkpoint.described import refuse_other_config, refuse_other_manifest
from nemo_hs2pref.checkpoint.layout import CONFIG, MANIFEST, WEIGHTS, is_foreign, read_yaml
from nemo_hs2pref.decode import from_file
from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.yaml_files import refuse_interpolations


def opened(path: Path) -> Path:
    """The folder of our layout for the checkpoint at `path`: itself, or a view of one that NeMo or Aligner wrote."""
    if not (path.is_file() or is_foreign(path)):
        return path
    from nemo_hs2pref.checkpoint.importers.view import view  # heavy: torch

    return view(path.resolve())


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
    folder = opened(path)
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{path}: no checkpoint ({CONFIG} not found); expected a .nemo file or folder")
    if not (folder / WEIGHTS / "metadata.json").is_file():
        raise CheckpointError(f"{path / WEIGHTS}: incomplete (metadata.json not found); copy or save it again")
    config = read_yaml(folder / CONFIG)
    refuse_interpolations(config, str(path / CONFIG), CheckpointError)
    refuse_other_config(config, path / CONFIG if path.is_dir() else path)
    return {key: value for key, value in config.items() if key != "reward_standardization"}


def read_manifest(path: Path) -> dict[str, Any]:
    """Our manifest; empty for a checkpoint that others wrote."""
    file = (opened(path) if path.is_file() else path) / MANIFEST
    if not file.is_file():
        return {}
    manifest = from_file(dict[str, Any], file, CheckpointError)
    refuse_other_manifest(manifest, path / MANIFEST if path.is_dir() else path)
    return manifest
