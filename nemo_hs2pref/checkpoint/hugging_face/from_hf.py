"""Hugging Face to NeMo: a Llama, with or without a reward head, as the folder that an unpacked .nemo file is."""

import sys
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from nemo_hs2pref import __version__, yaml_files
from nemo_hs2pref.checkpoint import layout
from nemo_hs2pref.checkpoint.families import architecture, to_mcore
from nemo_hs2pref.checkpoint.families.config import ORIGIN, PRECISION, model_config, origin_config
from nemo_hs2pref.checkpoint.hugging_face import layouts
from nemo_hs2pref.checkpoint.hugging_face.head import head_shapes, hf_head
from nemo_hs2pref.checkpoint.hugging_face.source import HFSource, checked_reader, open_source
from nemo_hs2pref.checkpoint.identity import was_changed
from nemo_hs2pref.checkpoint.layout import STANDARDIZATION
from nemo_hs2pref.checkpoint.reward_head import Head
from nemo_hs2pref.checkpoint.torch_dist.pieces import Piece
from nemo_hs2pref.checkpoint.torch_dist.writing import write_distributed
from nemo_hs2pref.data.tokenizers import save_tokenizer
from nemo_hs2pref.errors import CheckpointError

DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in PRECISION}


@dataclass(frozen=True)
class Manifest:
    """Where a converted checkpoint comes from. num_parameters: without vocabulary padding, tied ones once."""

    source: str
    layout: str
    num_layers: int
    source_num_layers: int
    num_parameters: int
    dtype: str
    tool_version: str


def convert_from_hf(
    source: str | Path,
    destination: Path,
    *,
    num_layers: int | None = None,
    dtype: torch.dtype | None = None,
    hf_layout: str | None = None,
) -> Manifest:
    """Write `source` as NeMo checkpoint folder `destination`, which must not exist, tensor by tensor.

    num_layers: keep the first N layers (default: all). dtype: float32 or bfloat16 (default: the source's).
    hf_layout: of layouts.LAYOUTS (default: by the source's config.json).
    Raises CheckpointError before anything is written; a run that is cut short leaves no destination.
    """
    layout.refuse_existing(destination)
    opened = open_source(source, hf_layout)
    chosen = layouts.layout_of_source(opened.config, hf_layout, opened.name)
    architecture.refuse_unsupported(opened.config, opened.name)
    for note in opened.notes:
        print(f"note: {note}", file=sys.stderr)
    num_layers = _layers_to_keep(opened, num_layers)
    shapes = architecture.body_shapes(opened.config, num_layers) | head_shapes(opened.config, chosen)
    tensor = checked_reader(opened, shapes)
    dtype = dtype or _own_dtype(opened, tensor(architecture.NORM).dtype)
    head = hf_head(opened.config, chosen, tensor, opened.name)
    pieces = [*to_mcore.body(tensor, opened.config, num_layers, dtype), *_ending(tensor, opened, head, dtype)]
    manifest = Manifest(
        source=opened.name,
        layout=chosen,
        num_layers=num_layers,
        source_num_layers=opened.config.num_hidden_layers,
        num_parameters=sum(prod(shape) for shape in shapes.values()),
        dtype=str(dtype).removeprefix("torch."),
        tool_version=__version__,
    )
    layout.refuse_full_disk(destination, sum(piece.bytes for piece in pieces))
    with layout.written_whole(destination) as folder:
        _write_small_files(folder, opened, manifest, head, dtype)
        write_distributed(pieces, folder / layout.WEIGHTS, num_layers)
    return manifest


def _ending(tensor: architecture.ReadTensor, opened: HFSource, head: Head | None, dtype: torch.dtype) -> list[Piece]:
    """What follows the body: the head, or a language model's output layer where it has its own."""
    if head is not None:
        return list(head.pieces())
    if opened.config.tie_word_embeddings:
        return []
    return [to_mcore.vocabulary(to_mcore.OUTPUT_LAYER, architecture.LM_HEAD, tensor, opened.config, dtype)]


def _layers_to_keep(opened: HFSource, asked: int | None) -> int:
    available = opened.config.num_hidden_layers
    if asked is not None and not 1 <= asked <= available:
        raise CheckpointError(f"--layers {asked}: {opened.name} has {available} layers; keep 1 to {available}")
    return asked or available


def _own_dtype(opened: HFSource, dtype: torch.dtype) -> torch.dtype:
    if dtype not in PRECISION:
        raise CheckpointError(f"{opened.name}: weights are {dtype}; choose --dtype {' or '.join(DTYPES)}")
    return dtype


def _write_small_files(
    folder: Path, opened: HFSource, manifest: Manifest, head: Head | None, dtype: torch.dtype
) -> None:
    save_tokenizer(opened.tokenizer, folder / layout.TOKENIZER, CheckpointError)
    config: dict[str, Any] = {
        **model_config(opened.config, num_layers=manifest.num_layers, dtype=dtype, tokenizer=layout.TOKENIZER),
        ORIGIN: origin_config(opened.config, opened.generation_config),
    }
    if head is not None:
        length = min(opened.config.max_position_embeddings, opened.tokenizer.model_max_length)  # as scoring the folder
        config |= {"head": head.section(), "share_embeddings_and_output_weights": False, "encoder_seq_length": length}
    yaml_files.refuse_interpolations(config, opened.name, CheckpointError)
    (folder / layout.CONFIG).write_text(yaml_files.dumped(config), encoding="utf-8")
    # the figures are those of the whole model, before another program trained it
    is_measured = manifest.num_layers == manifest.source_num_layers and not was_changed(Path(opened.name))
    measured = head is not None and head.standardization and is_measured
    figures = {STANDARDIZATION: head.standardization} if head is not None and measured else {}
    layout.write_manifest(folder, asdict(manifest) | figures)
