"""Hugging Face to NeMo: a Llama as the folder that an unpacked .nemo file is."""

import shutil
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

import torch
from omegaconf import OmegaConf
from tqdm import tqdm

from nemo_hs2pref import __version__
from nemo_hs2pref.checkpoint.distributed import write_distributed
from nemo_hs2pref.checkpoint.hf_source import HFSource, open_source
from nemo_hs2pref.checkpoint.layout import CONFIG, TOKENIZER, WEIGHTS, write_manifest, written_whole
from nemo_hs2pref.checkpoint.llama import checked_reader, expected_shapes, refuse_unsupported, weights
from nemo_hs2pref.checkpoint.model_config import PRECISION, model_config
from nemo_hs2pref.errors import CheckpointError

DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in PRECISION}


@dataclass(frozen=True)
class Manifest:
    """Where a converted checkpoint comes from. num_parameters: without vocabulary padding, tied ones once."""

    source: str
    num_layers: int
    source_num_layers: int
    num_parameters: int
    dtype: str
    tool_version: str


def convert_from_hf(
    source: str | Path, destination: Path, *, num_layers: int | None = None, dtype: torch.dtype | None = None
) -> Manifest:
    """Write `source` as NeMo checkpoint folder `destination`, which must not exist.

    num_layers: keep the first N layers (default: all). dtype: float32 or bfloat16 (default: the source's).
    Raises CheckpointError before anything is written; a run that is cut short leaves no destination.
    """
    if destination.exists():
        raise CheckpointError(f"{destination}: exists already; name a new folder or remove it")
    opened = open_source(source)
    refuse_unsupported(opened.config, opened.name)
    _refuse_large_tokenizer(opened)
    num_layers = _layers_to_keep(opened, num_layers)
    tensor = checked_reader(opened, num_layers)
    dtype = dtype or _own_dtype(opened, tensor("model.norm.weight").dtype)
    manifest = _manifest(opened, num_layers, dtype)
    _refuse_full_disk(destination, manifest.num_parameters * dtype.itemsize)
    with written_whole(destination) as folder:
        _write_small_files(folder, opened, manifest, dtype)
        cast = (weight._replace(value=weight.value.to(dtype)) for weight in weights(tensor, opened.config, num_layers))
        write_distributed(tqdm(cast, "reading", unit=" tensors", disable=None), folder / WEIGHTS, num_layers)
    return manifest


def _refuse_large_tokenizer(opened: HFSource) -> None:
    tokens, embeddings = len(opened.tokenizer), opened.config.vocab_size
    if tokens > embeddings:
        raise CheckpointError(
            f"{opened.name}: the tokenizer has {tokens} tokens, the model embeds {embeddings}; "
            "call model.resize_token_embeddings and save it before converting"
        )


def _layers_to_keep(opened: HFSource, asked: int | None) -> int:
    available = opened.config.num_hidden_layers
    if asked is not None and not 1 <= asked <= available:
        raise CheckpointError(f"--layers {asked}: {opened.name} has {available} layers; keep 1 to {available}")
    return asked or available


def _own_dtype(opened: HFSource, dtype: torch.dtype) -> torch.dtype:
    if dtype not in PRECISION:
        raise CheckpointError(f"{opened.name}: weights are {dtype}; choose --dtype {' or '.join(DTYPES)}")
    return dtype


def _manifest(opened: HFSource, num_layers: int, dtype: torch.dtype) -> Manifest:
    return Manifest(
        source=opened.name,
        num_layers=num_layers,
        source_num_layers=opened.config.num_hidden_layers,
        num_parameters=sum(prod(shape) for shape in expected_shapes(opened.config, num_layers).values()),
        dtype=str(dtype).removeprefix("torch."),
        tool_version=__version__,
    )


def _refuse_full_disk(destination: Path, size_bytes: int) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(destination.parent).free
    if free < size_bytes:
        raise CheckpointError(
            f"{destination.parent}: {free / 1e9:.1f} GB free, the checkpoint takes {size_bytes / 1e9:.1f} GB; make room"
        )


def _write_small_files(folder: Path, opened: HFSource, manifest: Manifest, dtype: torch.dtype) -> None:
    opened.tokenizer.save_pretrained(folder / TOKENIZER)
    config = model_config(opened.config, num_layers=manifest.num_layers, dtype=dtype, tokenizer=TOKENIZER)
    OmegaConf.save(OmegaConf.create(config), folder / CONFIG)
    write_manifest(folder, asdict(manifest))
