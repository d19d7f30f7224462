"""A checkpoint of ours: the files that its indices name, and shapes against model_config.yaml."""

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, TensorStorageMetadata

from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.checkpoint.families.config import hugging_face_config
from nemo_hs2pref.checkpoint.families.from_mcore import refuse_other_tensors
from nemo_hs2pref.checkpoint.reward_head import stored_head
from nemo_hs2pref.checkpoint.torch_dist.index import read_metadata
from nemo_hs2pref.checkpoint.torch_dist.reading import StoredTensors
from nemo_hs2pref.checkpoint.verification.files import Look, StoredRecord, look_at_records
from nemo_hs2pref.checkpoint.verification.report import Report
from nemo_hs2pref.errors import CheckpointError


def looks(folder: Path, report: Report) -> dict[str, Look]:
    """A look for every file that the indices of weights and training state name."""
    found: dict[str, Look] = {}
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
        files: dict[str, list[StoredRecord]] = {}
        for index, place in metadata.storage_data.items():
            files.setdefault(place.relative_path, []).append(record_of(index, place, tensors))
        found |= {f"{part}/{name}": look_at_records(records) for name, records in files.items()}
    return found


def tensors_of(metadata: Metadata) -> dict[str, TensorStorageMetadata]:
    entries = metadata.state_dict_metadata.items()
    return {name: entry for name, entry in entries if isinstance(entry, TensorStorageMetadata)}


def missing_pieces(metadata: Metadata, tensors: Mapping[str, TensorStorageMetadata]) -> Iterator[str]:
    """Names of tensors whose pieces do not make the whole, or are in no file."""
    for name, entry in tensors.items():
        places = [MetadataIndex(name, chunk.offsets) in metadata.storage_data for chunk in entry.chunks]
        if not all(places) or sum(prod(chunk.sizes) for chunk in entry.chunks) != prod(entry.size):
            yield name


def record_of(index: MetadataIndex, place: Any, tensors: Mapping[str, TensorStorageMetadata]) -> StoredRecord:
    entry = tensors.get(index.fqn)
    if entry is None:
        return StoredRecord(index.fqn, place.offset, place.length)
    shape = next((tuple(chunk.sizes) for chunk in entry.chunks if chunk.offsets == index.offset), None)
    name = f"{index.fqn} at {list(index.offset or ())}"
    return StoredRecord(name, place.offset, place.length, entry.properties.dtype, shape)


def compare_with_config(folder: Path) -> Iterator[str]:
    """Shapes against model_config.yaml, of a whole Llama; yields notes."""
    config = opening.read_any_config(folder)
    if opening.has_adapters(config):
        return
    try:
        llama = hugging_face_config(config, str(folder))
    except (CheckpointError, KeyError) as error:
        yield f"shapes are not compared with {layout.CONFIG}: {error}"
        return
    stored = StoredTensors(opening.opened(folder) / layout.WEIGHTS)
    refuse_other_tensors(stored, llama)
    stored_head(stored, config, opening.read_manifest(folder))
