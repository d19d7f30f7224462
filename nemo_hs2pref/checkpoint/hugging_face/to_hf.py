"""NeMo to Hugging Face: a Llama, with or without a reward head, as a folder that transformers loads."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PretrainedConfig

from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.checkpoint.families import architecture
from nemo_hs2pref.checkpoint.families.config import ORIGIN, hugging_face_config
from nemo_hs2pref.checkpoint.families.from_mcore import body_tensors, refuse_other_tensors
from nemo_hs2pref.checkpoint.families.to_mcore import EMBEDDING
from nemo_hs2pref.checkpoint.hugging_face import layouts
from nemo_hs2pref.checkpoint.hugging_face.card import Card, write_card
from nemo_hs2pref.checkpoint.hugging_face.ending import Ending, language_model, our_key, reward_model, without_bias
from nemo_hs2pref.checkpoint.hugging_face.layouts import CAUSAL_LM, CLASSIFICATION, NEMOTRON
from nemo_hs2pref.checkpoint.hugging_face.tokenizer import write_reward_tokenizer
from nemo_hs2pref.checkpoint.identity import note_export
from nemo_hs2pref.checkpoint.reward_head import Head, stored_head
from nemo_hs2pref.checkpoint.safetensors.shards import Entry, write_shards
from nemo_hs2pref.checkpoint.standardization import openrlhf_figures
from nemo_hs2pref.checkpoint.torch_dist.reading import StoredTensors
from nemo_hs2pref.errors import CheckpointError


@dataclass(frozen=True)
class Export:
    """A checkpoint, and how it will be written; nothing but the head is read yet."""

    stored: StoredTensors
    generation_config: Mapping[str, Any] | None  # of the model that the checkpoint came from
    manifest: Mapping[str, Any]
    layout: str  # of layouts.LAYOUTS
    config: PretrainedConfig
    dtype: torch.dtype
    head: Head | None  # as the layout holds it
    left_out: Sequence[str]  # attributes of the checkpoint's head that are no output of their own
    dropped_bias: Tensor | None
    ending: Ending

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Every tensor that will be written, in order."""
        shapes = architecture.body_shapes(self.config, self.config.num_hidden_layers)
        return {**{name: Entry(shape, self.dtype) for name, shape in shapes.items()}, **self.ending.entries}

    @property
    def num_parameters(self) -> int:
        return sum(prod(entry.shape) for entry in self.entries.values())

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """One at a time."""
        yield from body_tensors(self.stored, self.config)
        yield from self.ending.tensors()


def convert_to_hf(
    source: Path,
    destination: Path,
    *,
    dtype: torch.dtype | None = None,
    hf_layout: str | None = None,
    drop_bias: bool = False,
    labels: str | None = None,
) -> Export:
    """Write checkpoint `source` as Hugging Face folder `destination`, which must not exist, tensor by tensor.

    dtype: of the weights (default: the checkpoint's). hf_layout: of layouts.LAYOUTS (default: by whether there is
    a head). drop_bias: leave a head's bias out and write it down. labels: layouts.ALL or REWARD (default: the reward
    as the only one where it is one attribute, else all).
    Raises CheckpointError before anything is written; a run that is cut short leaves no destination.
    """
    layout.refuse_existing(destination)
    export = plan(source, dtype, hf_layout, drop_bias=drop_bias, labels=labels)
    layout.refuse_full_disk(destination, sum(entry.bytes for entry in export.entries.values()))
    with layout.written_whole(destination) as folder:
        write_tokenizer(opening.opened(source) / layout.TOKENIZER, folder, export)
        write_generation_config(folder, export)
        export.config.save_pretrained(folder)
        card = Card(destination.name, export.layout, export.config, export.head, export.dropped_bias, export.manifest)
        write_card(folder, card)
        bar = tqdm(export.tensors(), "writing", len(export.entries), unit=" tensors", disable=None)
        write_shards(export.entries, bar, folder)
        if export.head is not None:
            note_export(folder, source)
    return export


def plan(
    source: Path, dtype: torch.dtype | None, hf_layout: str | None, *, drop_bias: bool, labels: str | None
) -> Export:
    """Open `source` and decide everything; raises CheckpointError for what cannot be converted."""
    nemo, manifest = opening.read_config(source), opening.read_manifest(source)
    layout.refuse_no_tokenizer(opening.opened(source))
    config = hugging_face_config(nemo, str(source))
    stored = StoredTensors(opening.opened(source) / layout.WEIGHTS)
    refuse_other_tensors(stored, config)
    dtype = dtype or stored.entries[EMBEDDING][1]
    head, dropped_bias = stored_head(stored, nemo, manifest), None
    chosen = layouts.layout_of_target(head is not None, hf_layout, str(source))
    left_out: Sequence[str] = ()
    if head is None:
        ending = language_model(stored, config, dtype)
    else:
        if layouts.holds_reward_alone(chosen, head.reward_weights, labels, str(source)):
            merged = head.merged()
            left_out = [name for name in head.attributes if name not in merged.attributes]
            head = merged
        head, dropped_bias = without_bias(head, drop=drop_bias, where=str(source))
        ending = reward_model(head, chosen, config, dtype)
        config.tie_word_embeddings = False
        keys = {**ending.config, **our_key(head, chosen, dropped_bias)}
        config.update({**keys, **openrlhf_figures(keys), **trained_length(nemo, config, source)})
    config.update({"architectures": [layouts.architecture_of(config, chosen)], "torch_dtype": dtype})
    generation_config = nemo.get(ORIGIN, {}).get("generation_config")
    return Export(stored, generation_config, manifest, chosen, config, dtype, head, left_out, dropped_bias, ending)


def trained_length(nemo: Mapping[str, Any], config: PretrainedConfig, source: Path) -> dict[str, int]:
    """The longest row of training, where vLLM looks for it; the tokenizer has it under the same name.

    max_position_embeddings stays the base model's, which `--max-length` may use up. RoPE goes on past it, so that a
    run may have had longer rows: then it is theirs. No scaling that Llamas here have depends on it.
    """
    length: int | None = nemo.get("encoder_seq_length")
    if length is None:
        raise CheckpointError(
            f"{source}: encoder_seq_length is missing in model_config.yaml; copy the checkpoint again"
        )
    return {
        "model_max_length": length,
        "max_position_embeddings": max(config.max_position_embeddings, length),
    }


def write_tokenizer(source: Path, folder: Path, export: Export) -> None:
    """A language model's as it is; a reward model's gives transformers the tokens of training."""
    if export.head is None:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        return
    side = "right" if export.layout == CLASSIFICATION else "left"  # where generate() begins, nothing may be
    config = export.config
    config.pad_token_id = write_reward_tokenizer(
        source, folder, export.head.template, config.vocab_size, side, config.model_max_length
    )


def write_generation_config(folder: Path, export: Export) -> None:
    """The source's own, where it is known; where logits are rewards, one that leaves them as they are."""
    written = export.generation_config if export.layout == CAUSAL_LM else None
    if export.layout == NEMOTRON:
        ids = {key: getattr(export.config, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
        written = {"do_sample": False, **ids}
    if written:
        (folder / "generation_config.json").write_text(json.dumps(written, indent=2) + "\n")
