"""model_config.yaml of NeMo 1.x and NeMo-Aligner as ours.

What is not written there is read off the tensors: the outputs of the head and its bias, the rows of the embedding,
the dtype. What describes the run that made it, and not the model, stays behind.
"""

from collections.abc import Mapping
from typing import Any

import torch

from nemo_hs2pref.checkpoint.families.config import PRECISION
from nemo_hs2pref.checkpoint.families.to_mcore import EMBEDDING
from nemo_hs2pref.checkpoint.layout import TOKENIZER
from nemo_hs2pref.checkpoint.reward_head import BIAS, WEIGHT, usual_weights
from nemo_hs2pref.data.records import ATTRIBUTES
from nemo_hs2pref.data.templates import DEFAULT_TEMPLATE
from nemo_hs2pref.errors import CheckpointError

Shapes = Mapping[str, tuple[tuple[int, ...], torch.dtype]]  # tensor -> (global shape, dtype)
DEFAULTS = {  # what NeMo takes where there is no key
    "position_embedding_type": "learned_absolute",
    "rotary_percentage": 1.0,
    "rotary_base": 10_000,
    "seq_len_interpolation_factor": None,
}
GIVEN = ("attributes", "reward_weights", "template")
OF_THE_RUN = (  # the rest of a run's keys is overridden by those of the next
    *("target", "nemo_version", "data", "inference", "loss_func", "loss_mask_val", "force_head_dtype"),
    *("reward_model_type", "regression", "reward_standardization", "overwrite_base_config"),
    *("fp8", "fp8_e4m3", "fp8_hybrid", "fp8_params", "context_parallel_size", "expert_model_parallel_size"),
    *("nsys_profile", "restore_from_path", "pretrained_checkpoint", "output_sequence"),
)


def own_config(config: Mapping[str, Any], shapes: Shapes, where: str) -> dict[str, Any]:
    """Our model_config.yaml of a model of NeMo or Aligner; raises CheckpointError for what our model is not."""
    if EMBEDDING not in shapes:
        raise CheckpointError(f"{where}: tensor {EMBEDDING} is missing; expected a megatron-core GPT (mcore_gpt: true)")
    if config.get("use_avg_pool") or config.get("output_sequence"):
        raise CheckpointError(f"{where}: its head reads more than the last token; only reward models that do not load")
    (rows, _), dtype = shapes[EMBEDDING]
    if not dtype.is_floating_point or dtype.itemsize < 2:
        raise CheckpointError(f"{where}: weights are {dtype}; save them in bfloat16 or float32")
    own = {key: value for key, value in (DEFAULTS | dict(config)).items() if key not in OF_THE_RUN}
    own |= {
        "override_vocab_size": rows,
        "vocab_size": config.get("vocab_size") or rows,
        "max_position_embeddings": config.get("max_position_embeddings") or config.get("encoder_seq_length"),
        "precision": PRECISION.get(dtype, 32),
        "tokenizer": {"library": "huggingface", "type": TOKENIZER, "use_fast": True},
    }
    return own | reward_model(config, shapes, where) if WEIGHT in shapes else own


def reward_model(config: Mapping[str, Any], shapes: Shapes, where: str) -> dict[str, Any]:
    """What makes it a reward model: the section `head`, in which a user may have written GIVEN.

    NeMo-Aligner 0.7.0 builds reward models without Llama 3.1's RoPE scaling, whatever the file says (it does not call
    mcore_model_customize), so that is how these weights were trained.
    """
    (number, _), _ = shapes[WEIGHT]
    given = config.get("head") or {}
    if unknown := given.keys() - GIVEN:
        raise CheckpointError(f"{where}: unknown key head.{min(unknown)}; expected {', '.join(GIVEN)}")
    attributes = given.get("attributes") or attribute_names(number)
    weights = given.get("reward_weights") or reward_weights(config, attributes, where)
    if {len(attributes), len(weights)} != {number}:
        raise CheckpointError(
            f"{where}: {len(attributes)} attributes and {len(weights)} reward weights for a head of {number} outputs"
        )
    head = {
        "attributes": list(attributes),
        "reward_weights": list(weights),
        "bias": BIAS in shapes,
        "template": given.get("template") or DEFAULT_TEMPLATE,
    }
    return {"head": head, "scale_positional_embedding": False, "share_embeddings_and_output_weights": False}


def attribute_names(number: int) -> list[str]:
    """Aligner stores none; nine outputs are those of its SteerLM recipe, one is a reward."""
    if number == len(ATTRIBUTES):
        return list(ATTRIBUTES)
    return ["reward"] if number == 1 else [f"attribute_{i}" for i in range(number)]


def reward_weights(config: Mapping[str, Any], attributes: list[str], where: str) -> list[float]:
    """Aligner's own where it merges attributes; else the usual ones: its BT losses train helpfulness."""
    given = (config.get("regression") or {}).get("attribute_weights")
    weights = given or usual_weights(attributes)
    if weights is None:
        raise CheckpointError(
            f"{where}: nothing says how its {len(attributes)} outputs make a reward; add head.reward_weights "
            "(and head.attributes) to its model_config.yaml"
        )
    return [float(weight) for weight in weights]
