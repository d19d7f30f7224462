"""A Hugging Face folder after all checks, ready to be read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from nemo_hs2pref.checkpoint.families import architecture
from nemo_hs2pref.checkpoint.families.table import FAMILIES
from nemo_hs2pref.checkpoint.hugging_face import layouts
from nemo_hs2pref.checkpoint.hugging_face.folder.config import read_config
from nemo_hs2pref.checkpoint.hugging_face.folder.tensors import (
    load_bin,
    refuse_other_head,
    refuse_other_tensors,
    tensor_files,
)
from nemo_hs2pref.checkpoint.hugging_face.folder.text import (
    ends_with_padding,
    read_tokenizer,
    refuse_no_template,
    template_of,
)
from nemo_hs2pref.checkpoint.hugging_face.head import head_shapes
from nemo_hs2pref.checkpoint.layout import HF_CONFIG
from nemo_hs2pref.checkpoint.safetensors.folder import ANY_KIND, weight_files
from nemo_hs2pref.errors import CheckpointError

CLASSIFIER = "ForSequenceClassification"  # how transformers' names of such classes end


@dataclass(frozen=True)
class HFFolder:
    """A model of transformers' in a folder; no weight is read yet.

    layout: of layouts.LAYOUTS; None of a class that is neither a classifier nor of a family that is converted.
    template: the name of the one that a reward model was trained with; None of other models.
    notes: what a reader should know.
    """

    path: Path
    config: PretrainedConfig
    layout: str | None
    template: str | None
    files: dict[str, Path]  # tensor -> file; of such a family those that it computes with
    tokenizer: PreTrainedTokenizerBase
    notes: tuple[str, ...]

    @property
    def is_decoder(self) -> bool:
        """Of a family that is converted."""
        return self.config.model_type in FAMILIES

    def read(self, name: str) -> Tensor:
        """On the CPU, as it is stored; mapped, so that what was read can leave memory."""
        file = self.files[name]
        if file.suffix != ".safetensors":
            return load_bin(file)[name]
        try:
            return safe_open(file, "pt").get_tensor(name)
        except Exception as error:  # safetensors raises its own
            raise CheckpointError(f"{file}: cannot be read ({error}); copy or download it again") from error


def open_folder(path: Path, asked: str | None = None) -> HFFolder:
    """Open a folder as `save_pretrained` writes it, of any version of transformers that is known here.

    asked: the layout that the user named. Raises CheckpointError with the first thing that would give another model
    than its authors', or none.
    """
    config = read_config(path)
    places = tensor_files(weight_files(path, ANY_KIND))
    shapes = {name: shape for name, (_, shape) in places.items()}
    is_decoder = config.model_type in FAMILIES
    if is_decoder:
        refuse_other_head(path, shapes)
    layout = layout_of(config, asked, path)
    if is_decoder and layout is not None:
        body = architecture.body_shapes(config, config.num_hidden_layers) | architecture.bias_shapes(config)
        expected = body | head_shapes(config, layout)
        refuse_other_tensors(path, shapes, expected)
        places = {name: places[name] for name in expected}
    tokenizer = read_tokenizer(path, config)
    template = template_of(config) if layout in (layouts.CLASSIFICATION, layouts.NEMOTRON) else None
    if template is not None:
        refuse_no_template(path, template, tokenizer)
    files = {name: file for name, (file, _) in places.items()}
    notes = tuple(notes_on(path, config, layout, template, tokenizer))
    return HFFolder(path, config, layout, template, files, tokenizer, notes)


def layout_of(config: Any, asked: str | None, path: Path) -> str | None:
    if config.model_type in FAMILIES:
        return layouts.layout_of_source(config, asked, str(path / HF_CONFIG))
    is_classifier = any(name.endswith(CLASSIFIER) for name in config.architectures or [])
    return layouts.CLASSIFICATION if is_classifier else None


def notes_on(path: Path, config: Any, layout: str | None, template: str | None, tokenizer: Any) -> list[str]:
    notes: list[str] = []
    if (path / "model.safetensors").exists() and (path / "model.safetensors.index.json").exists():
        notes.append(f"{path}: has model.safetensors and an index too; the one file is read, as transformers does")
    if layout == layouts.CLASSIFICATION and template and ends_with_padding(config, template, tokenizer):
        notes.append(
            f"{path}: its text ends with the padding token; the reward is read there, at the last token, where "
            "transformers itself would take an earlier token for the end"
        )
    return notes
