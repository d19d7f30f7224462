"""Opening a Hugging Face causal language model without loading it: tensors are read one at a time.

A source is a folder (safetensors or .bin files), a repository on the hub, or a GGUF file.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from nemo_hs2pref.checkpoint.families.table import FAMILIES
from nemo_hs2pref.checkpoint.finite import refuse_not_finite
from nemo_hs2pref.checkpoint.hugging_face.folder.opened import open_folder
from nemo_hs2pref.checkpoint.layout import HF_CONFIG
from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.files import read_json

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
GENERATION = "generation_config.json"


@dataclass(frozen=True)
class HFSource:
    """A Llama-shaped model that is open for reading.

    name: what the user gave. tensor_names: the names in the files, Hugging Face's way.
    tensor(name): that tensor on CPU, in the source's dtype; raises CheckpointError for a broken file.
    generation_config: of generation_config.json, where there is one. notes: what a reader should know.
    """

    name: str
    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerBase
    tensor_names: frozenset[str]
    tensor: Callable[[str], Tensor]
    generation_config: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


def open_source(source: str | Path, asked: str | None = None) -> HFSource:
    """Open a folder, a GGUF file or a hub repository; raises CheckpointError for anything else.

    asked: the layout that the user named.
    """
    path = Path(source)
    if path.is_file() and path.suffix == ".gguf":
        from nemo_hs2pref.checkpoint.hugging_face.gguf import open_gguf  # optional: needs the gguf package

        return open_gguf(path)
    if path.is_dir():
        return from_folder(path, str(source), asked)
    if not path.exists() and HUB_ID.fullmatch(str(source)):
        return from_folder(_download(str(source)), str(source), asked)
    raise CheckpointError(f"{source}: expected a Hugging Face folder, a .gguf file or a hub id such as org/name")


def from_folder(folder: Path, name: str, asked: str | None) -> HFSource:
    """Of a folder as `save_pretrained` writes it."""
    opened = open_folder(folder, asked)
    config = opened.config
    if config.model_type not in FAMILIES:
        known = ", ".join(f"{family.model_type!r} ({family.title})" for family in FAMILIES.values())
        raise CheckpointError(f"{folder / HF_CONFIG}: model_type is {config.model_type!r}; only {known} convert")
    file = folder / GENERATION
    generation = read_json(file, CheckpointError) if file.exists() else None
    return HFSource(name, config, opened.tokenizer, frozenset(opened.files), opened.read, generation, opened.notes)


def checked_reader(source: HFSource, shapes: Mapping[str, tuple[int, ...]]) -> Callable[[str], Tensor]:
    """`source.tensor` with checks: CheckpointError for missing tensors at once, for another shape when it is read."""
    if missing := sorted(shapes.keys() - source.tensor_names):
        raise CheckpointError(f"{source.name}: lacks {len(missing)} tensors of its config, e.g. {missing[0]}")

    def tensor(name: str) -> Tensor:
        value = source.tensor(name)
        if tuple(value.shape) != shapes[name]:
            raise CheckpointError(f"{source.name}: {name} is {tuple(value.shape)}; its config asks for {shapes[name]}")
        refuse_not_finite(value, name, source.name)
        return value

    return tensor


def _download(repo: str) -> Path:
    """The repository in the hub's cache, downloaded where it is not there yet."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(repo, allow_patterns=["*.json", "*.safetensors", "*.model", "*.jinja"]))
        if not list(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(repo, allow_patterns=["*.bin"]))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{repo}: not in the hub's cache and no download ({reason}); give a folder") from error
    return folder
