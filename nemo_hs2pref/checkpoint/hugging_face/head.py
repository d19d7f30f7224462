"""A reward head in Hugging Face's files: `score.weight` [K, H], or row 0 of `lm_head.weight` (layouts)."""

from collections.abc import Sequence

import torch
from transformers import PretrainedConfig

from nemo_hs2pref.checkpoint.families import architecture
from nemo_hs2pref.checkpoint.hugging_face.layouts import CLASSIFICATION, KEY, NEMOTRON
from nemo_hs2pref.checkpoint.layout import STANDARDIZATION
from nemo_hs2pref.checkpoint.reward_head import HELPFULNESS, Head, usual_weights
from nemo_hs2pref.errors import CheckpointError

SCORE = "score.weight"  # transformers' name


def head_shapes(config: PretrainedConfig, layout: str) -> dict[str, architecture.Shape]:
    """What ends a Hugging Face model of `layout`."""
    if layout == CLASSIFICATION:
        return {SCORE: (config.num_labels, config.hidden_size)}
    return architecture.lm_head_shapes(config)


def hf_head(config: PretrainedConfig, layout: str, tensor: architecture.ReadTensor, where: str) -> Head | None:
    """The head of a Hugging Face model; None of a language model.

    What its format has no place for is read from config.json's `hs2pref`, or follows from the labels.
    """
    if layout == CLASSIFICATION:
        weight = tensor(SCORE)
        attributes = [config.id2label[i] for i in range(config.num_labels)]
    elif layout == NEMOTRON:
        weight = tensor(architecture.LM_HEAD)[:1]
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
    """How the outputs make a reward: as given, else as usual."""
    weights = given or usual_weights(attributes)
    if weights is None:
        raise CheckpointError(
            f"{where}: nothing says how {', '.join(attributes)} make a reward; add their weights to config.json as "
            f'"{KEY}": {{"reward_weights": [...]}}'
        )
    if len(weights) != len(attributes):
        raise CheckpointError(f"{where}: {len(weights)} reward_weights in config.json for {len(attributes)} labels")
    return list(weights)
