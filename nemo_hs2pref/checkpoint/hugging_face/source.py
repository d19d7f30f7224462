"""Opening a Hugging Face causal language model without loading it: tensors are read one at a time.

A source is a folder (safetensors or .bin files), a repository on the hub, or a GGUF file.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoTokenizer, LlamaConfig, PreTrainedTokenizerBase

from nemo_hs2pref.checkpoint.safetensors.folder import weight_map_of
from nemo_hs2pref.errors import CheckpointError

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")  # in order of preference, whole or with an index


@dataclass(frozen=True)
class HFSource:
    """A Llama-shaped model that is open for reading.

    name: what the user gave. tensor_names: the names in the files, Hugging Face's way.
    tensor(name): that tensor on CPU, in the source's dtype; raises CheckpointError for a broken file.
    generation_config: of generation_config.json, where there is one.
    """

    name: str
    config: LlamaConfig
    tokenizer: PreTrainedTokenizerBase
    tensor_names: frozenset[str]
    tensor: Callable[[str], Tensor]
    generation_config: Mapping[str, Any] | None = None


def open_source(source: str | Path) -> HFSource:
    """Open a folder, a GGUF file or a hub repository; raises CheckpointError for anything else."""
    path = Path(source)
    if path.is_file() and path.suffix == ".gguf":
        from nemo_hs2pref.checkpoint.hugging_face.gguf import open_gguf  # optional: needs the gguf package

        return open_gguf(path)
    if path.is_dir():
        return open_folder(path, name=str(source))
    if not path.exists() and HUB_ID.fullmatch(str(source)):
        return open_folder(_download(str(source)), name=str(source))
    raise CheckpointError(f"{source}: expected a Hugging Face folder, a .gguf file or a hub id such as org/name")


def open_folder(folder: Path, name: str) -> HFSource:
    """Open a folder as `save_pretrained` writes it."""
    config = _read_config(folder)
    files = _tensor_files(folder)

    def tensor(tensor_name: str) -> Tensor:
        file = files[tensor_name]
        with _one_sentence(file):
            return _read(file, tensor_name)

    generation = folder / "generation_config.json"
    generation_config = json.loads(generation.read_text()) if generation.is_file() else None
    return HFSource(name, config, _read_tokenizer(folder), frozenset(files), tensor, generation_config)


def checked_reader(source: HFSource, shapes: Mapping[str, tuple[int, ...]]) -> Callable[[str], Tensor]:
    """`source.tensor` with checks: CheckpointError for missing tensors at once, for another shape when it is read."""
    if missing := sorted(shapes.keys() - source.tensor_names):
        raise CheckpointError(f"{source.name}: lacks {len(missing)} tensors of its config, e.g. {missing[0]}")

    def tensor(name: str) -> Tensor:
        value = source.tensor(name)
        if tuple(value.shape) != shapes[name]:
            raise CheckpointError(f"{source.name}: {name} is {tuple(value.shape)}; its config asks for {shapes[name]}")
        return value

    return tensor


def _read_config(folder: Path) -> LlamaConfig:
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{path}: not found; a Hugging Face model folder has one")
    model_type = json.loads(path.read_text()).get("model_type")
    if model_type != "llama":
        raise CheckpointError(f"{path}: model_type is {model_type!r}; only 'llama' (Llama 2 and 3, SmolLM2) converts")
    return LlamaConfig.from_pretrained(folder)


def _read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: no tokenizer that transformers can read; put tokenizer.json there") from error


def _tensor_files(folder: Path) -> dict[str, Path]:
    """Which file holds which tensor."""
    for name in WEIGHT_FILES:
        whole, index = folder / name, folder / f"{name}.index.json"
        if index.is_file():
            return _indexed(index)
        if whole.is_file():
            return dict.fromkeys(_names(whole), whole)
    raise CheckpointError(f"{folder}: has neither {' nor '.join(WEIGHT_FILES)}, whole or with an index")


def _indexed(index: Path) -> dict[str, Path]:
    """The files of an index, each of them opened once: a missing one is told now and not after an hour."""
    files = {tensor: index.parent / file for tensor, file in weight_map_of(index).items()}
    for file in sorted(set(files.values())):
        names = set(_names(file))
        if lacking := sorted(tensor for tensor, place in files.items() if place == file and tensor not in names):
            raise CheckpointError(f"{file}: lacks {lacking[0]}, which {index.name} places there; download both again")
    return files


def _names(file: Path) -> Iterable[str]:
    with _one_sentence(file):
        return safe_open(file, "pt").keys() if file.suffix == ".safetensors" else _load_bin(file).keys()


def _read(file: Path, name: str) -> Tensor:
    """Memory-mapped; the map lives as long as the tensor, so that what was read can leave memory."""
    return safe_open(file, "pt").get_tensor(name) if file.suffix == ".safetensors" else _load_bin(file)[name]


def _load_bin(file: Path) -> dict[str, Tensor]:
    return torch.load(file, map_location="cpu", mmap=True, weights_only=True)


@contextmanager
def _one_sentence(file: Path) -> Iterator[None]:
    """Turns a broken weight file into a CheckpointError: safetensors, zipfile and pickle each raise their own."""
    try:
        yield
    except Exception as error:
        raise CheckpointError(f"{file}: cannot be read ({error}); copy or download it again") from error


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
