"""The two kinds of models that can be combined number by number: checkpoints of ours and Hugging Face folders.

Both are read and written a tensor at a time (`parts`, `read`, `writer`). `settings` must be equal in all models that
are combined: equal shapes can still mean other things, another head order or another template.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from math import prod
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from torch import Tensor

from nemo_hs2pref import __version__
from nemo_hs2pref.checkpoint import distributed, layout, safetensors_shards
from nemo_hs2pref.checkpoint.distributed import parts_of, pieces_of
from nemo_hs2pref.checkpoint.hf_layouts import KEY
from nemo_hs2pref.checkpoint.plain_tensors import StoredTensors
from nemo_hs2pref.checkpoint.pushed import Pushed
from nemo_hs2pref.checkpoint.safetensors_header import read_header, weight_files
from nemo_hs2pref.checkpoint.safetensors_shards import CODES, Entry
from nemo_hs2pref.checkpoint.standardization import KEY as STANDARDIZATION
from nemo_hs2pref.errors import CheckpointError

SAME = ("num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads", "num_query_groups", "vocab_size", "head")
FREE = (  # keys of config.json that change no weight's meaning
    *("_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache"),
    *("bos_token_id", "eos_token_id", "pad_token_id"),
)
COPIED = (".json", ".jinja", ".model", ".txt")
LICENCES = ("LICENSE", "NOTICE", "USE_POLICY")


class Model(Protocol):
    """entries: name -> (shape, dtype). read(name, layer): `layer` only where the first axis is the layer."""

    path: Path
    kind: str
    settings: Mapping[str, Any]
    entries: Mapping[str, tuple[tuple[int, ...], torch.dtype]]

    def read(self, name: str, layer: int | None) -> Tensor: ...

    def parts(self) -> list[tuple[str, int | None]]:
        """What is read and written at once, in the order of the files: (name, layer)."""
        ...

    def writer(self, out: Path, about: Mapping[str, Any]) -> AbstractContextManager[Pushed]:
        """Takes the tensors of parts(); `out` gets this model's configuration and tokenizer, and a name at the end."""
        ...


def open_models(paths: Sequence[Path]) -> list[Model]:
    """Models that can be combined; raises CheckpointError naming the first setting or tensor in which they differ."""
    kinds: list[type[HFModel] | type[NemoModel]]
    kinds = [HFModel if is_hugging_face(path) else NemoModel for path in paths]
    for kind, path in zip(kinds, paths, strict=True):
        if kind is not kinds[0] and path.exists():
            raise CheckpointError(
                f"{paths[0]} is a {kinds[0].kind} and {path} a {kind.kind}; convert one of them with hs2pref convert"
            )
    models: list[Model] = [kind(path) for kind, path in zip(kinds, paths, strict=True)]
    for other in models[1:]:
        refuse_other_settings(models[0], other)
        refuse_other_tensors(models[0], other)
    return models


def is_hugging_face(path: Path) -> bool:
    return (path / "config.json").is_file() and not (path / layout.CONFIG).is_file()


def size_bytes(model: Model) -> int:
    return sum(prod(shape) * dtype.itemsize for shape, dtype in model.entries.values())


def refuse_other_settings(first: Model, other: Model) -> None:
    for key in sorted(first.settings.keys() | other.settings.keys()):
        values = first.settings.get(key), other.settings.get(key)
        if values[0] != values[1]:
            raise CheckpointError(
                f"{key} is {values[0]} in {first.path} and {values[1]} in {other.path}; they must be equal"
            )


def refuse_other_tensors(first: Model, other: Model) -> None:
    """Tensors of the same names, shapes and dtypes."""
    for name in sorted(first.entries.keys() | other.entries.keys()):
        found = first.entries.get(name), other.entries.get(name)
        if found[0] != found[1]:
            told = [f"{entry[1]} {list(entry[0])}" if entry else "nothing" for entry in found]
            raise CheckpointError(
                f"tensor {name} differs: {told[0]} in {first.path}, {told[1]} in {other.path}; "
                "one model must have been trained from the other, or all from one"
            )


class NemoModel(Model):
    """A checkpoint of ours."""

    kind = "NeMo checkpoint"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = layout.read_config(path)
        self.stored = StoredTensors(layout.opened(path) / layout.WEIGHTS)
        self.settings = {key: self.config.get(key) for key in SAME}
        self.entries = self.stored.entries

    def read(self, name: str, layer: int | None) -> Tensor:
        return self.stored.read(name, layer=layer)

    def parts(self) -> list[tuple[str, int | None]]:
        return list(parts_of({name: shape for name, (shape, _) in self.entries.items()}))

    @contextmanager
    def writer(self, out: Path, about: Mapping[str, Any]) -> Iterator[Pushed]:
        pieces, num_layers = list(pieces_of(self.entries, self.read)), int(self.config["num_layers"])
        manifest = {"tool_version": __version__, **about}
        with layout.written_whole(out) as folder:
            layout.write_small_files(folder, self.config, manifest, layout.opened(self.path) / layout.TOKENIZER)
            yield Pushed(distributed.writing(pieces, folder / layout.WEIGHTS, num_layers))


class HFModel(Model):
    """A Hugging Face folder with safetensors files."""

    kind = "Hugging Face folder"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config: dict[str, Any] = json.loads((path / "config.json").read_text())
        ours = dict(self.config.get(KEY, {}))
        if "dropped_bias" in ours:
            raise CheckpointError(f"{path}: its head's bias was left out; combine the checkpoints it was made from")
        ours.pop(STANDARDIZATION, None)  # other weights give other rewards
        self.config |= {KEY: ours}
        self.settings = {key: value for key, value in self.config.items() if key not in FREE}
        self.files: dict[str, Path] = {}
        entries: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
        dtypes = {code: dtype for dtype, code in CODES.items()}
        for file in weight_files(path):
            for name, place in read_header(file).items():
                if place.dtype not in dtypes:
                    raise CheckpointError(f"{file}: {name} is {place.dtype}; only {', '.join(dtypes)} can be combined")
                self.files[name] = file
                entries[name] = (place.shape, dtypes[place.dtype])
        self.entries = entries

    def read(self, name: str, layer: int | None) -> Tensor:
        return safe_open(self.files[name], "pt").get_tensor(name)  # opened anew: a map that is kept stays in memory

    def parts(self) -> list[tuple[str, int | None]]:
        return [(name, None) for name in sorted(self.entries, key=lambda name: -self.entries[name][1].itemsize)]

    @contextmanager
    def writer(self, out: Path, about: Mapping[str, Any]) -> Iterator[Pushed]:
        entries = {name: Entry(*self.entries[name]) for name, _ in self.parts()}
        with layout.written_whole(out) as folder:
            copy_small_files(self.path, folder)
            config = self.config | {KEY: self.config[KEY] | about}
            (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
            (folder / "README.md").write_text(card(out.name, about))
            yield Pushed(safetensors_shards.writing(entries, folder))


def copy_small_files(source: Path, folder: Path) -> None:
    """Tokenizer, generation config and licences."""
    for file in source.iterdir():
        copied = (file.suffix in COPIED and not file.name.endswith(".index.json")) or file.name.startswith(LICENCES)
        if copied and file.is_file():
            shutil.copyfile(file, folder / file.name)


def card(name: str, about: Mapping[str, Any]) -> str:
    told = json.dumps(about, indent=2)
    return f"# {name}\n\nWritten by nemo_hs2pref {__version__}; nothing was trained.\n\n```json\n{told}\n```\n"
