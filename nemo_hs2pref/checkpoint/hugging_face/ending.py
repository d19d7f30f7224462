"""What ends a Hugging Face model of each layout: its last tensors and its own keys of config.json.

Shapes: K attributes, H hidden size, V vocabulary.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig

from nemo_hs2pref import __version__
from nemo_hs2pref.checkpoint.families import architecture
from nemo_hs2pref.checkpoint.families.to_mcore import OUTPUT_LAYER
from nemo_hs2pref.checkpoint.hugging_face.head import SCORE
from nemo_hs2pref.checkpoint.hugging_face.layouts import CLASSIFICATION, KEY, NEMOTRON
from nemo_hs2pref.checkpoint.layout import STANDARDIZATION
from nemo_hs2pref.checkpoint.reward_head import Head
from nemo_hs2pref.checkpoint.safetensors.shards import Entry
from nemo_hs2pref.checkpoint.torch_dist.reading import StoredTensors
from nemo_hs2pref.errors import CheckpointError

Named = tuple[str, Tensor]


@dataclass(frozen=True)
class Ending:
    """The last tensors, read one at a time, and what config.json says of them."""

    entries: Mapping[str, Entry]
    tensors: Callable[[], Iterator[Named]]
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])


def language_model(stored: StoredTensors, config: PretrainedConfig, dtype: torch.dtype) -> Ending:
    """lm_head [V, H] without padding; nothing where the embeddings are tied."""

    def tensors() -> Iterator[Named]:
        for name in entries:
            yield name, stored.read(OUTPUT_LAYER, rows=(0, config.vocab_size))

    entries = {name: Entry(shape, dtype) for name, shape in architecture.lm_head_shapes(config).items()}
    if entries and OUTPUT_LAYER not in stored.entries:
        raise CheckpointError(f"{stored.folder}: tensor {OUTPUT_LAYER} is missing; copy the checkpoint again")
    return Ending(entries, tensors)


def reward_model(head: Head, layout: str, config: PretrainedConfig, dtype: torch.dtype) -> Ending:
    """Of a head without bias, in either of its layouts."""
    return classification(head, dtype) if layout == CLASSIFICATION else nemotron_reward(head, config, dtype)


def classification(head: Head, dtype: torch.dtype) -> Ending:
    """score [K, H], in the model's dtype: transformers 4.49 loads a float32 head into a bfloat16 model, and fails."""
    labels = dict(enumerate(head.attributes))
    keys = {
        "id2label": labels,
        "label2id": {name: i for i, name in labels.items()},
        "problem_type": "regression",  # or transformers' pipeline shows the outputs through a sigmoid or softmax
    }
    return Ending({SCORE: Entry(tuple(head.weight.shape), dtype)}, lambda: iter([(SCORE, head.weight)]), keys)


def nemotron_reward(head: Head, config: PretrainedConfig, dtype: torch.dtype) -> Ending:
    """lm_head [V, H] with the only output of `head` in row 0, and zeros, which no reader asks for."""

    def tensors() -> Iterator[Named]:
        rows = torch.zeros(shape, dtype=dtype)
        rows[0] = head.weight[0].to(dtype)
        yield architecture.LM_HEAD, rows

    shape = config.vocab_size, config.hidden_size
    return Ending({architecture.LM_HEAD: Entry(shape, dtype)}, tensors)


def our_key(head: Head, layout: str, dropped_bias: Tensor | None) -> dict[str, Any]:
    """What Hugging Face's format has no place for; from-hf reads it back."""
    ours: dict[str, Any] = {
        "layout": layout,
        "reward_weights": list(head.reward_weights),
        "template": head.template,
        "tool_version": __version__,
    }
    if layout == NEMOTRON:
        ours["attributes"] = list(head.attributes)
    if dropped_bias is not None:
        ours["dropped_bias"] = dropped_bias.tolist()
    if head.standardization:
        ours[STANDARDIZATION] = dict(head.standardization)
    return {KEY: ours}


def without_bias(head: Head, *, drop: bool, where: str) -> tuple[Head, Tensor | None]:
    """The head as both layouts can hold it, and the bias that was dropped; one of zeros is no loss."""
    if head.bias is None or not head.bias.any():
        return replace(head, bias=None), None
    if not drop:
        values = ", ".join(f"{name} {value:g}" for name, value in zip(head.attributes, head.bias.tolist(), strict=True))
        raise CheckpointError(
            f"{where}: the head has a bias ({values}), which Hugging Face's layouts cannot hold; --drop-bias leaves it "
            "out and writes it into config.json and the card"
        )
    return replace(head, bias=None), head.bias
