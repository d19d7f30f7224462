"""The folder that a checkpoint is: an unpacked .nemo file, with our manifest beside it.

model_config.yaml   NeMo's model section, with the loss it was trained with
model_weights/      torch_dist: whole tensors under global names, readable in any TP and PP layout;
                    of a LoRA run adapters and head only, and model_config.yaml has `peft`
tokenizer/          Hugging Face tokenizer
hs2pref.json        what it is: source or run, step, metrics; the mean and std of its rewards once measured; of a
                    LoRA run its base
hs2pref.files.json  size and SHA-256 of all files, for `hs2pref checkpoint verify`
training_state/     only in a run's resume state: optimizer, schedule, counters, random state
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nemo_hs2pref import yaml_files
from nemo_hs2pref.checkpoint.file_list import FILE_LIST, describe, files_in, list_again, write_file_list
from nemo_hs2pref.checkpoint.safetensors.folder import INDEX, WHOLE
from nemo_hs2pref.checkpoint.torch_dist.refusals import kind_not_written, reason_not_written
from nemo_hs2pref.errors import CheckpointError, HS2PrefError
from nemo_hs2pref.files import read_json, replacing, sync_files, sync_folders

CONFIG = "model_config.yaml"
WEIGHTS = "model_weights"
TOKENIZER = "tokenizer"
MANIFEST = "hs2pref.json"
TRAINING_STATE = "training_state"
LAST = "last"  # the folder of a run's resume state
STANDARDIZATION = "standardization"  # in MANIFEST, or under HF_KEY: mean and std of the rewards
SPARE = 1.1  # of the size of a checkpoint must be free before a run saves one
HF_CONFIG = "config.json"  # a Hugging Face folder's
HF_ADAPTER = "adapter_config.json"  # of PEFT: the folder has adapters instead of a model
HF_FILES = (HF_CONFIG, HF_ADAPTER, WHOLE, INDEX, "pytorch_model.bin")
HF_KEY = "hs2pref"  # in it: what Hugging Face's format has no place for
QKV_BIAS = "qkv_bias"  # in model_config.yaml: biases on queries, keys and values alone
OPENRLHF_FIGURES = ("mean", "std")  # in it: of the rewards, as OpenRLHF reads them


def is_foreign(folder: Path) -> bool:
    """NeMo 2.0 has context/; NeMo 1.x writes the class of the model as `target`, which is ours after our training."""
    if (folder / "context").is_dir():
        return True
    target = read_yaml(folder / CONFIG).get("target") if (folder / CONFIG).is_file() else None
    return target is not None and not str(target).startswith("nemo_hs2pref.")


def resume_path(folder: Path) -> Path | None:
    """The resume state among a run's checkpoints; the one before it where a kill came between the two renames.

    A folder gets either name when it is complete: what is missing in it was lost later, and is found when it is read.
    """
    return next((folder / name for name in (LAST, f"{LAST}.old") if (folder / name).is_dir()), None)


def is_hugging_face(path: Path) -> bool:
    """By any of such a folder's files, so that one that lacks config.json is told so."""
    is_ours = (path / CONFIG).is_file() or (path / "context").is_dir()
    return not is_ours and any((path / name).exists() for name in HF_FILES)


def read_hugging_face_config(path: Path) -> dict[str, Any]:
    """config.json as it is stored; what it means, `hugging_face.folder` says."""
    return read_json(path / HF_CONFIG, CheckpointError)


def read_yaml(file: Path) -> dict[str, Any]:
    """As data: nothing in it is looked up."""
    return yaml_files.read_yaml(file, CheckpointError)


def refuse_no_tokenizer(path: Path) -> None:
    if not (path / TOKENIZER).is_dir():
        raise CheckpointError(f"{path / TOKENIZER}: not found; put the model's Hugging Face tokenizer there")


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write or replace our manifest; a reader finds the old one or the new one, never a part."""
    if path.is_file():
        raise CheckpointError(f"{path}: an archive cannot be written to; unpack it: tar -C FOLDER -xf {path}")
    with replacing(path / MANIFEST, CheckpointError) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n")
    list_again(path, path / MANIFEST)


def write_small_files(folder: Path, config: Mapping[str, Any], manifest: Mapping[str, Any], tokenizer: Path) -> None:
    """Everything but the tensors."""
    (folder / CONFIG).write_text(yaml_files.dumped(config), encoding="utf-8")
    write_manifest(folder, manifest)
    try:
        shutil.copytree(tokenizer, folder / TOKENIZER)
    except shutil.Error as error:  # of several files; each is (source, target, reason)
        ((source, _, reason), *_) = error.args[0]
        raise CheckpointError(f"{source}: cannot be copied ({reason}); copy the model again") from None


def refuse_existing(destination: Path) -> None:
    """Outputs are never written over."""
    if destination.exists():
        raise CheckpointError(f"{destination}: exists already; name a new folder or remove it")


def refuse_full_disk(destination: Path, size_bytes: int) -> None:
    """Before hours of work: is there room for `size_bytes` at `destination`, whose parent is made here."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(destination.parent).free
    if free < size_bytes:
        raise CheckpointError(
            f"{destination.parent}: {free / 1e9:.1f} GB free, the checkpoint takes {size_bytes / 1e9:.1f} GB; make room"
        )


@contextmanager
def written_whole(destination: Path) -> Iterator[Path]:
    """A folder beside `destination` that takes its name when the block ends well, and is removed otherwise.

    Its files are listed with their hashes, and all of it is on the disk before. A disk that refuses to take it is a
    CheckpointError, one that fails a MachineError.
    """
    folder = destination.with_name(destination.name + ".incomplete")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
        files = files_in(folder)
        sync_files(files)
        write_file_list(folder, describe(folder, files))
        sync_files([folder / FILE_LIST])
        sync_folders(folder)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        reason = None if isinstance(error, HS2PrefError) else reason_not_written(error)
        if reason is None:
            raise
        raise kind_not_written(error)(
            f"{destination}: cannot be written ({reason}); make room or choose another place"
        ) from error
    folder.rename(destination)
