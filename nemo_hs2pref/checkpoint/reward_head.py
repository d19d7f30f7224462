"""A reward head outside of any model, and its two homes: a checkpoint of ours and Hugging Face's files.

Shapes: K attributes, H hidden size, V vocabulary. A head is small, so it is read whole and at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig

from nemo_hs2pref.checkpoint import llama
from nemo_hs2pref.checkpoint.distributed import Piece, whole
from nemo_hs2pref.checkpoint.hf_layouts import CLASSIFICATION, KEY, NEMOTRON
from nemo_hs2pref.checkpoint.plain_tensors import StoredTensors
from nemo_hs2pref.checkpoint.standardization import KEY as STANDARDIZATION
from nemo_hs2pref.errors import CheckpointError

WEIGHT, BIAS = "model.rm_head.weight", "model.rm_head.bias"
SCORE = "score.weight"  # transformers' name
HELPFULNESS = "helpfulness"


@dataclass(frozen=True)
class Head:
    """attributes_K = weight_KH @ hidden_H + bias_K; reward = reward_weights_K @ attributes_K. All float32."""

    attributes: Sequence[str]
    reward_weights: Sequence[float]
    template: str  # how messages became text
    weight: Tensor
    bias: Tensor | None = None
    standardization: Mapping[str, Any] | None = None  # mean and std of its rewards, where they were measured

    def section(self) -> dict[str, Any]:
        """model_config.yaml's `head`."""
        return {
            "attributes": list(self.attributes),
            "reward_weights": list(self.reward_weights),
            "bias": self.bias is not None,
            "template": self.template,
        }

    def pieces(self) -> Iterator[Piece]:
        """Its tensors in a checkpoint of ours."""
        yield whole(WEIGHT, torch.float32, tuple(self.weight.shape), lambda: self.weight)
        if (bias := self.bias) is not None:
            yield whole(BIAS, torch.float32, tuple(bias.shape), lambda: bias)

    def merged(self) -> "Head":
        """The same reward as the only output; its name stays where the reward is one attribute."""
        weights = torch.tensor(self.reward_weights, dtype=torch.float64)
        named = [name for name, weight in zip(self.attributes, self.reward_weights, strict=True) if weight]
        name = named[0] if len(named) == 1 and sum(self.reward_weights) == 1 else "reward"
        figures = self.standardization
        return replace(
            self,
            attributes=[name],
            reward_weights=[1.0],
            weight=(weights @ self.weight.double()).float()[None],
            bias=None if self.bias is None else (weights @ self.bias.double()).float()[None],
            standardization=figures and {**figures, "attributes": {name: figures["reward"]}},
        )


def stored_head(stored: StoredTensors, config: Mapping[str, Any], manifest: Mapping[str, Any]) -> Head | None:
    """The head of a checkpoint of ours, by its model_config.yaml and hs2pref.json; None where it has none."""
    section = config.get("head")
    if section is None:
        return None
    shape = len(section["attributes"]), config["hidden_size"]
    found = stored.entries.get(WEIGHT, ("nothing", None))[0]
    if found != shape:
        raise CheckpointError(f"{stored.folder}: tensor {WEIGHT} has shape {found}; model_config.yaml asks for {shape}")
    return Head(
        section["attributes"],
        section["reward_weights"],
        section["template"],
        stored.read(WEIGHT).float(),
        stored.read(BIAS).float() if section["bias"] else None,
        manifest.get(STANDARDIZATION),
    )


def head_shapes(config: LlamaConfig, layout: str) -> dict[str, llama.Shape]:
    """What ends a Hugging Face model of `layout`."""
    if layout == CLASSIFICATION:
        return {SCORE: (config.num_labels, config.hidden_size)}
    return llama.lm_head_shapes(config)


def hf_head(config: LlamaConfig, layout: str, tensor: llama.ReadTensor, where: str) -> Head | None:
    """The head of a Hugging Face model; None of a language model.

    What its format has no place for is read from config.json's `hs2pref`, or follows from the labels.
    """
    if layout == CLASSIFICATION:
        weight = tensor(SCORE)
        attributes = [config.id2label[i] for i in range(config.num_labels)]
    elif layout == NEMOTRON:
        if config.tie_word_embeddings:
            raise CheckpointError(f"{where}: tie_word_embeddings is true, so no row of lm_head can be a reward head")
        weight = tensor(llama.LM_HEAD)[:1]
        attributes = getattr(config, KEY, {}).get("attributes", [HELPFULNESS])
    else:
        return None
    ours = getattr(config, KEY, {})
    bias = ours.get("dropped_bias")
    return Head(
        attributes,
        reward_weights(attributes, ours.get("reward_weights"), where),
        ours.get("template", "tokenizer"),
        weight.float().clone(),
        None if bias is None else torch.tensor(bias),
        ours.get(STANDARDIZATION),
    )


def reward_weights(attributes: Sequence[str], given: Sequence[float] | None, where: str) -> list[float]:
    """How the outputs make a reward: as given, the only output, or helpfulness."""
    if given is None and HELPFULNESS not in attributes and len(attributes) > 1:
        raise CheckpointError(
            f"{where}: nothing says how {', '.join(attributes)} make a reward; add their weights to config.json as "
            f'"{KEY}": {{"reward_weights": [...]}}'
        )
    weights = given or [float(name == HELPFULNESS or len(attributes) == 1) for name in attributes]
    if len(weights) != len(attributes):
        raise CheckpointError(f"{where}: {len(weights)} reward_weights in config.json for {len(attributes)} labels")
    return list(weights)
