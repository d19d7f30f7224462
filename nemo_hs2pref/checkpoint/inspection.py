"""What a checkpoint is, by its small files and the index of its tensors; no tensor is read and no model built.

What is not known is left out: a checkpoint of others has no manifest, a language model no head.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.checkpoint.file_list import FILE_LIST
from nemo_hs2pref.checkpoint.hugging_face.folder.config import read_stored
from nemo_hs2pref.checkpoint.hugging_face.layouts import KEY
from nemo_hs2pref.checkpoint.layout import STANDARDIZATION, is_hugging_face
from nemo_hs2pref.checkpoint.safetensors.folder import weight_files
from nemo_hs2pref.checkpoint.safetensors.header import DTYPES, read_header
from nemo_hs2pref.checkpoint.torch_dist.index import read_metadata

Facts = dict[str, Any]
NEMO = {  # what we call it -> NeMo's key
    "layers": "num_layers",
    "hidden_size": "hidden_size",
    "feed_forward_size": "ffn_hidden_size",
    "heads": "num_attention_heads",
    "key_value_heads": "num_query_groups",
    "vocabulary": "vocab_size",
    "positions": "max_position_embeddings",
    "tied_embeddings": "share_embeddings_and_output_weights",
}
HUGGING_FACE = {
    "class": "architectures",
    "layers": "num_hidden_layers",
    "hidden_size": "hidden_size",
    "feed_forward_size": "intermediate_size",
    "heads": "num_attention_heads",
    "key_value_heads": "num_key_value_heads",
    "vocabulary": "vocab_size",
    "positions": "max_position_embeddings",
    "tied_embeddings": "tie_word_embeddings",
}
PARALLEL = {  # of the run that wrote it; any layout reads it
    "tensor_parallel": "tensor_model_parallel_size",
    "pipeline_parallel": "pipeline_model_parallel_size",
    "sequence_parallel": "sequence_parallel",
}
ORIGINS = ("source", "extrapolated", "averaged", "merged", "layout", "tool_version")


def inspect_checkpoint(path: Path) -> Facts:
    """Facts by section; raises CheckpointError where `path` is neither a checkpoint nor a Hugging Face folder."""
    facts = hugging_face(path) if is_hugging_face(path) else nemo(path)
    facts["hashes_listed"] = (path / FILE_LIST).is_file()
    return {"path": str(path), **{key: value for key, value in facts.items() if value not in (None, {}, [])}}


def nemo(path: Path) -> Facts:
    config, manifest = opening.read_any_config(path), opening.read_manifest(path)
    entries = read_metadata(opening.opened(path) / layout.WEIGHTS).state_dict_metadata.values()
    tensors = [entry for entry in entries if isinstance(entry, TensorStorageMetadata)]
    run: Facts = manifest.get("run") or {}
    return {
        "kind": "LoRA adapters" if opening.has_adapters(config) else "NeMo checkpoint",
        "architecture": renamed(config, NEMO),
        **sizes((tuple(t.size), str(t.properties.dtype), t.properties.dtype.itemsize) for t in tensors),
        "parallel": renamed(config, PARALLEL),
        "training": training(path, run, manifest),
        "head": config.get("head"),
        "data": data(run, manifest),
        "standardization": manifest.get(STANDARDIZATION),
        "adapters": adapters(config, manifest) if opening.has_adapters(config) else None,
        "origin": {key: manifest[key] for key in ORIGINS if key in manifest},
    }


def hugging_face(path: Path) -> Facts:
    config: Facts = read_stored(path)
    places = [place for file in weight_files(path) for place in read_header(file).values()]
    ours: Facts = config.get(KEY) or {}
    labels: Facts = config.get("id2label") or {}
    head = {key: ours[key] for key in ("reward_weights", "template", "dropped_bias") if key in ours}
    if labels:
        head = {"attributes": list(labels.values()), **head}
    return {
        "kind": "Hugging Face folder",
        "architecture": renamed(config, HUGGING_FACE),
        **sizes(
            (p.shape, str(DTYPES.get(p.dtype, p.dtype)), (p.end - p.start) // max(1, prod(p.shape))) for p in places
        ),
        "head": head,
        "standardization": ours.get(STANDARDIZATION),
        "origin": {key: ours[key] for key in ORIGINS if key in ours},
    }


def renamed(config: Mapping[str, Any], names: Mapping[str, str]) -> Facts:
    return {name: config[key] for name, key in names.items() if config.get(key) is not None}


def sizes(tensors: Iterable[tuple[tuple[int, ...], str, int]]) -> Facts:
    """Of (shape, dtype, bytes a number); NeMo's vocabulary padding counts."""
    numbers: dict[str, int] = {}
    total = 0
    for shape, dtype, width in tensors:
        name = dtype.removeprefix("torch.")
        numbers[name] = numbers.get(name, 0) + prod(shape)
        total += prod(shape) * width
    return {"parameters": sum(numbers.values()), "dtypes": numbers, "weight_bytes": total}


def training(path: Path, run: Mapping[str, Any], manifest: Mapping[str, Any]) -> Facts:
    facts = {key: manifest[key] for key in ("step", "items", "metrics") if manifest.get(key) not in (None, {})}
    if run:
        facts["loss"] = (run.get("loss") or {}).get("name")
        facts["started_from"] = (run.get("pretrained_checkpoint") or {}).get("restore_from_path")
        facts["can_resume"] = (path / layout.TRAINING_STATE / "metadata.json").is_file()
    return facts


def data(run: Mapping[str, Any], manifest: Mapping[str, Any]) -> Facts:
    """Where the data lay, and the hashes of its files where the run stored them."""
    folder = (run.get("data") or {}).get("dir")
    return {key: value for key, value in {"dir": folder, "files": manifest.get("data")}.items() if value}


def adapters(config: Mapping[str, Any], manifest: Mapping[str, Any]) -> Facts:
    tuning: Facts = config["peft"].get("lora_tuning") or {}
    return {"rank": tuning.get("adapter_dim"), "alpha": tuning.get("alpha"), "base": manifest.get("base")}


def lines(facts: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """The facts for a person to read."""
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield f"{indent}{key}:"
            yield from lines(value, indent + "  ")  # pyright: ignore[reportUnknownArgumentType] JSON
        else:
            yield f"{indent}{key}: {f'{value:,}' if type(value) is int else value}"
