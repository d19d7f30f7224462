"""A Hugging Face folder with safetensors files as a model that can be merged."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from nemo_hs2pref import __version__
from nemo_hs2pref.checkpoint import layout
from nemo_hs2pref.checkpoint.hugging_face.folder.keys import meaning
from nemo_hs2pref.checkpoint.hugging_face.folder.opened import open_folder
from nemo_hs2pref.checkpoint.hugging_face.layouts import KEY
from nemo_hs2pref.checkpoint.identity import EXPORTED
from nemo_hs2pref.checkpoint.layout import STANDARDIZATION, read_hugging_face_config
from nemo_hs2pref.checkpoint.merging.model import Model
from nemo_hs2pref.checkpoint.merging.text import settings_of
from nemo_hs2pref.checkpoint.pushed import Pushed
from nemo_hs2pref.checkpoint.safetensors import shards
from nemo_hs2pref.checkpoint.safetensors.folder import weight_files
from nemo_hs2pref.checkpoint.safetensors.header import read_header
from nemo_hs2pref.checkpoint.safetensors.shards import CODES, Entry
from nemo_hs2pref.errors import CheckpointError

MEANING = ("layout", "template", "attributes", "reward_weights")  # of our key: what the outputs are
OF_OTHER_WEIGHTS = (STANDARDIZATION, EXPORTED)  # of our key: what is true of the parents alone
COPIED = (".json", ".jinja", ".model", ".txt")
LICENCES = ("LICENSE", "NOTICE", "USE_POLICY")


class HFCheckpoint(Model):
    """A Hugging Face folder with safetensors files."""

    kind = "Hugging Face folder"

    def __init__(self, path: Path) -> None:
        self.path, opened = path, open_folder(path)
        self.config: dict[str, Any] = read_hugging_face_config(path)
        ours: dict[str, Any] = self.config.get(KEY) or {}
        if "dropped_bias" in ours:
            raise CheckpointError(f"{path}: its head's bias was left out; combine the checkpoints it was made from")
        self.config |= {KEY: {key: value for key, value in ours.items() if key not in OF_OTHER_WEIGHTS}}
        usual: dict[str, Any] = {"layout": opened.layout, "template": opened.template}  # of who has not our key
        usual["reward_weights"] = [1.0] if opened.config.num_labels == 1 else None
        meant = {f"{KEY}.{key}": ours.get(key) or usual.get(key) for key in MEANING}
        meant |= settings_of(opened.tokenizer, opened.template)
        self.settings = meant | {key: value for key, value in meaning(opened.config).items() if key != KEY}
        self.files: dict[str, Path] = {}
        entries: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
        dtypes = {code: dtype for dtype, code in CODES.items()}
        for file in weight_files(path):
            for name, place in read_header(file).items():
                if name not in opened.files:
                    continue
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
            yield Pushed(shards.writing(entries, folder))


def copy_small_files(source: Path, folder: Path) -> None:
    """Tokenizer, generation config and licences."""
    for file in source.iterdir():
        copied = (file.suffix in COPIED and not file.name.endswith(".index.json")) or file.name.startswith(LICENCES)
        if copied and file.is_file():
            shutil.copyfile(file, folder / file.name)


def card(name: str, about: Mapping[str, Any]) -> str:
    told = json.dumps(about, indent=2)
    return f"# {name}\n\nWritten by nemo_hs2pref {__version__}; nothing was trained.\n\n```json\n{told}\n```\n"
