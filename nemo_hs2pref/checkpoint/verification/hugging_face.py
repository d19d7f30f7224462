"""A Hugging Face folder: the files that its index names, and shapes against config.json."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from transformers import LlamaConfig

from nemo_hs2pref.checkpoint.hugging_face import layouts
from nemo_hs2pref.checkpoint.hugging_face.head import head_shapes
from nemo_hs2pref.checkpoint.llama import architecture
from nemo_hs2pref.checkpoint.safetensors.folder import weight_files
from nemo_hs2pref.checkpoint.safetensors.header import read_header
from nemo_hs2pref.checkpoint.verification.files import Look, look_at_safetensors
from nemo_hs2pref.checkpoint.verification.report import Report
from nemo_hs2pref.errors import CheckpointError


def looks(folder: Path, report: Report) -> dict[str, Look]:
    try:
        files = weight_files(folder)
    except CheckpointError as error:
        report.problems.append(str(error))
        return {}
    with suppress(CheckpointError):  # told below, by the look at that file
        report.tensors = sum(len(read_header(file)) for file in files)
    return {file.name: look_at_safetensors(file, names) for file, names in files.items()}


def compare_with_config(folder: Path) -> Iterator[str]:
    """Shapes against config.json, of a Llama; yields notes."""
    stored = {name: place.shape for file in weight_files(folder) for name, place in read_header(file).items()}
    config = LlamaConfig.from_pretrained(folder)
    if config.model_type != "llama":
        yield f"shapes are not compared with config.json: model_type is {config.model_type}, not llama"
        return
    chosen = layouts.layout_of_source(config, None, "config.json")
    expected = architecture.body_shapes(config, config.num_hidden_layers) | head_shapes(config, chosen)
    for name, shape in expected.items():
        if stored.get(name) != shape:
            found = list(stored[name]) if name in stored else "missing"
            raise CheckpointError(f"tensor {name}: {found}, config.json asks for {list(shape)}")
