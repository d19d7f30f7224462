"""Is a checkpoint whole? Its files are compared with what was listed of them when it was saved, its tensors with its
index and its configuration, and every number is looked at. Hugging Face folders too. Nothing stored is run.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, TensorStorageMetadata
from tqdm import tqdm
from transformers import LlamaConfig

from nemo_hs2pref.checkpoint import hf_layouts, layout, llama
from nemo_hs2pref.checkpoint.combinable import is_hugging_face
from nemo_hs2pref.checkpoint.file_checks import (
    Look,
    Piece,
    check_file,
    look_at_nothing,
    look_at_pieces,
    look_at_safetensors,
)
from nemo_hs2pref.checkpoint.file_list import FILE_LIST, THREADS, Files, files_in, read_file_list
from nemo_hs2pref.checkpoint.llama_from_mcore import refuse_other_tensors
from nemo_hs2pref.checkpoint.model_config import llama_config
from nemo_hs2pref.checkpoint.plain_tensors import StoredTensors
from nemo_hs2pref.checkpoint.reward_head import head_shapes, stored_head
from nemo_hs2pref.checkpoint.safetensors_header import read_header, weight_files
from nemo_hs2pref.checkpoint.stored_metadata import read_metadata
from nemo_hs2pref.errors import CheckpointError


@dataclass
class Report:
    """What was found. problems: a sentence each, of a file its path in the folder first; none: the checkpoint is whole.

    notes: what could not be compared, and why.
    """

    path: str
    files: int = 0
    bytes: int = 0
    tensors: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(path: Path) -> Report:
    """Read the checkpoint, its `.nemo` archive or the Hugging Face folder at `path` from front to back.

    Of an archive the tensors are looked at where they lie. Raises CheckpointError where there is none of these.
    """
    report = Report(str(path))
    if path.is_file():
        path = layout.opened(path)
        report.notes.append("of an archive the tensors alone are looked at; unpack it to have every file compared")
    is_hf, listed = is_hugging_face(path), read_file_list(path)
    if listed is None:
        weight_files(path) if is_hf else layout.read_any_config(path)  # there is something to verify
        report.notes.append(f"no {FILE_LIST}, so no sizes and hashes to compare; whoever wrote this left none")
    looks = looks_at_hf(path, report) if is_hf else looks_at_weights(path, report)
    check_files(path, listed or {}, looks, report)
    if not report.problems:  # the configuration can be read
        compare = compare_with_hf_config if is_hf else compare_with_config
        try:
            report.notes += compare(path)
        except Exception as error:  # broken text: yaml, json and transformers each raise their own
            report.problems.append(str(error))
    return report


def check_files(folder: Path, listed: Files, looks: Mapping[str, Look], report: Report) -> None:
    """All files that were listed or hold weights, several at once."""
    names = sorted(listed.keys() | looks.keys())
    found = {file.relative_to(folder).as_posix(): file.stat().st_size for file in files_in(folder)}
    if listed and (new := sorted(found.keys() - listed.keys())):
        report.notes.append(f"{len(new)} files came after the save, {new[0]} first")
    lock = Lock()
    bar: tqdm[Any]
    report.files, report.bytes = len(names), sum(found.get(name, 0) for name in names)
    with tqdm(total=report.bytes, unit="B", unit_scale=True, disable=None) as bar:

        def advance(count: int) -> None:
            with lock:
                bar.update(count)

        def check(name: str) -> list[str]:
            return check_file(folder / name, listed.get(name), looks.get(name, look_at_nothing), advance)

        with ThreadPoolExecutor(THREADS) as pool:
            for name, problems in zip(names, pool.map(check, names), strict=True):
                report.problems += [f"{name}: {problem}" for problem in problems]


# --- checkpoints of ours ---


def looks_at_weights(folder: Path, report: Report) -> dict[str, Look]:
    """A look for every file that the indices of weights and training state name."""
    looks: dict[str, Look] = {}
    for part in (layout.WEIGHTS, layout.TRAINING_STATE):
        if not (folder / part).is_dir():
            continue
        try:
            metadata = read_metadata(folder / part)
        except CheckpointError as error:
            report.problems.append(str(error).removeprefix(f"{folder}/"))
            continue
        tensors = tensors_of(metadata)
        report.tensors += len(tensors)
        report.problems += [f"{part}/.metadata: {name} is not whole" for name in missing_pieces(metadata, tensors)]
        files: dict[str, list[Piece]] = {}
        for index, place in metadata.storage_data.items():
            files.setdefault(place.relative_path, []).append(piece_of(index, place, tensors))
        looks |= {f"{part}/{name}": look_at_pieces(pieces) for name, pieces in files.items()}
    return looks


def tensors_of(metadata: Metadata) -> dict[str, TensorStorageMetadata]:
    entries = metadata.state_dict_metadata.items()
    return {name: entry for name, entry in entries if isinstance(entry, TensorStorageMetadata)}


def missing_pieces(metadata: Metadata, tensors: Mapping[str, TensorStorageMetadata]) -> Iterator[str]:
    """Names of tensors whose pieces do not make the whole, or are in no file."""
    for name, entry in tensors.items():
        places = [MetadataIndex(name, chunk.offsets) in metadata.storage_data for chunk in entry.chunks]
        if not all(places) or sum(prod(chunk.sizes) for chunk in entry.chunks) != prod(entry.size):
            yield name


def piece_of(index: MetadataIndex, place: Any, tensors: Mapping[str, TensorStorageMetadata]) -> Piece:
    entry = tensors.get(index.fqn)
    if entry is None:
        return Piece(index.fqn, place.offset, place.length)
    shape = next((tuple(chunk.sizes) for chunk in entry.chunks if chunk.offsets == index.offset), None)
    name = f"{index.fqn} at {list(index.offset or ())}"
    return Piece(name, place.offset, place.length, entry.properties.dtype, shape)


def compare_with_config(folder: Path) -> Iterator[str]:
    """Shapes against model_config.yaml, of a whole Llama; yields notes."""
    config = layout.read_any_config(folder)
    if layout.has_adapters(config):
        return
    try:
        llama = llama_config(config, str(folder))
    except (CheckpointError, KeyError) as error:
        yield f"shapes are not compared with {layout.CONFIG}: {error}"
        return
    stored = StoredTensors(layout.opened(folder) / layout.WEIGHTS)
    refuse_other_tensors(stored, llama)
    stored_head(stored, config, layout.read_manifest(folder))


# --- Hugging Face folders ---


def looks_at_hf(folder: Path, report: Report) -> dict[str, Look]:
    try:
        files = weight_files(folder)
    except CheckpointError as error:
        report.problems.append(str(error))
        return {}
    with suppress(CheckpointError):  # told below, by the look at that file
        report.tensors = sum(len(read_header(file)) for file in files)
    return {file.name: look_at_safetensors(file, names) for file, names in files.items()}


def compare_with_hf_config(folder: Path) -> Iterator[str]:
    """Shapes against config.json, of a Llama; yields notes."""
    stored = {name: place.shape for file in weight_files(folder) for name, place in read_header(file).items()}
    config = LlamaConfig.from_pretrained(folder)
    if config.model_type != "llama":
        yield f"shapes are not compared with config.json: model_type is {config.model_type}, not llama"
        return
    chosen = hf_layouts.layout_of_source(config, None, "config.json")
    expected = llama.body_shapes(config, config.num_hidden_layers) | head_shapes(config, chosen)
    for name, shape in expected.items():
        if stored.get(name) != shape:
            found = list(stored[name]) if name in stored else "missing"
            raise CheckpointError(f"tensor {name}: {found}, config.json asks for {list(shape)}")
