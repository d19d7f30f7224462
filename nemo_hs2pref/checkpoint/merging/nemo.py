"""A checkpoint of ours as a model that can be merged."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from nemo_hs2pref import __version__
from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.checkpoint.merging.model import Model
from nemo_hs2pref.checkpoint.merging.text import settings_of
from nemo_hs2pref.checkpoint.pushed import Pushed
from nemo_hs2pref.checkpoint.torch_dist.pieces import parts_of, pieces_of
from nemo_hs2pref.checkpoint.torch_dist.reading import StoredTensors
from nemo_hs2pref.checkpoint.torch_dist.writing import writing
from nemo_hs2pref.data.tokenizers import open_tokenizer
from nemo_hs2pref.errors import CheckpointError

SAME = ("num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads", "num_query_groups", "vocab_size", "head")


class NemoCheckpoint(Model):
    """A checkpoint of ours."""

    kind = "NeMo checkpoint"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = opening.read_config(path)
        if "num_layers" not in self.config:
            raise CheckpointError(f"{path}: num_layers is missing in model_config.yaml; copy the checkpoint again")
        self.stored = StoredTensors(opening.opened(path) / layout.WEIGHTS)
        self.settings = {key: self.config.get(key) for key in SAME} | self._text_settings()
        self.entries = self.stored.entries

    def _text_settings(self) -> dict[str, str]:
        folder = opening.opened(self.path) / layout.TOKENIZER
        if not (folder / "tokenizer.json").is_file():
            return {}
        return settings_of(open_tokenizer(folder, CheckpointError), (self.config.get("head") or {}).get("template"))

    def read(self, name: str, layer: int | None) -> Tensor:
        return self.stored.read(name, layer=layer)

    def parts(self) -> list[tuple[str, int | None]]:
        return list(parts_of({name: shape for name, (shape, _) in self.entries.items()}))

    @contextmanager
    def writer(self, out: Path, about: Mapping[str, Any]) -> Iterator[Pushed]:
        pieces, num_layers = list(pieces_of(self.entries, self.read)), self.config["num_layers"]
        manifest = {"tool_version": __version__, **about}
        with layout.written_whole(out) as folder:
            layout.write_small_files(folder, self.config, manifest, opening.opened(self.path) / layout.TOKENIZER)
            yield Pushed(writing(pieces, folder / layout.WEIGHTS, num_layers))
