"""Which keys of config.json are understood: what transformers' class of the model takes, and what changes no number.

Any other key could change what the model computes. transformers keeps it and reads nothing of it, so it would be lost
without a word; here it is refused by name. A null says that a key is not used.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import LlamaConfig, PretrainedConfig

from nemo_hs2pref.checkpoint.layout import HF_KEY
from nemo_hs2pref.errors import CheckpointError

HARMLESS = {
    # where the files come from, and with what they are read
    *("_name_or_path", "name_or_path", "_commit_hash", "transformers_version", "model_type", "architectures"),
    *("_attn_implementation", "_attn_implementation_autoset", "attn_implementation", "_flash_attn_2_enabled"),
    *("use_flash_attention_2", "use_cache", "gradient_checkpointing", "torch_dtype", "dtype", "torchscript"),
    *("return_dict", "output_hidden_states", "output_attentions", "is_llama_config", "transformers.js_config"),
    # of training: initialisation, dropout, and how the products are cut for tensor parallelism
    *("initializer_range", "attention_dropout", "hidden_dropout", "classifier_dropout", "dropout", "pretraining_tp"),
    *(
        "neftune_noise_alpha",
        "use_bfloat16",
        "problem_type",
        "finetuning_task",
        "task_specific_params",
        "unsloth_version",
        "unsloth_fixed",
    ),
    # of the tokenizer and of generation
    *("bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id", "end_token_id"),
    *("tokenizer_class", "tokenizer_model_max_length", "tokenizer_padding_side", "model_max_length"),
    *("cache_implementation", "n_ctx", "predict_special_tokens"),
    "max_sequence_length",  # Llama 1's, beside max_position_embeddings
    # of the pooler that TensorFlow's BERT had
    *("directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head"),
    "pooler_type",
    # OpenRLHF's: the name of the head's tensor, which is looked for in any case, and an offset and scale of the reward
    *("value_head_prefix", "mean", "std", "normalize_reward", "packing_samples"),
}
MUST_BE = {  # extra keys -> the only value with which transformers' code is right
    "rope_interleaved": False,
    "partial_rotary_factor": 1.0,
    "use_sliding_window": False,
    "sliding_window": None,
    "is_causal": True,
    "use_mrope": False,
}
ALL_FULL = "layer_types"  # of transformers 5: one kind of attention a layer


def meaning(config: PretrainedConfig) -> dict[str, Any]:
    """The keys that say what the model computes, as whichever version of transformers saved them."""
    generation = PretrainedConfig()._get_global_generation_defaults()
    left_out = (
        (HARMLESS - {"model_type", "architectures"}) | MUST_BE.keys() | generation.keys() | {ALL_FULL, "label2id"}
    )
    return {key: value for key, value in config.to_dict().items() if key not in left_out}


def unknown_keys(config: Mapping[str, Any], config_class: type[PretrainedConfig]) -> Iterator[str]:
    """The keys that are refused."""
    known = (
        HARMLESS
        | {HF_KEY, "num_labels", "_num_labels"}
        | parameters_of(config_class)
        | set(PretrainedConfig().to_dict())
    )
    words = frozenset[str]() if config_class is LlamaConfig else words_of_code(config_class)
    for key, value in config.items():
        if value is None or key in known or key in words or (key in MUST_BE and MUST_BE[key] == value):
            continue
        if key == ALL_FULL and isinstance(value, list) and all(kind == "full_attention" for kind in value):  # pyright: ignore[reportUnknownArgumentType] JSON
            continue
        yield key


def refuse_unknown_keys(config: Mapping[str, Any], config_class: type[PretrainedConfig], where: Path) -> None:
    for key in unknown_keys(config, config_class):
        raise CheckpointError(
            f"{where}: the key {key!r} ({str(config[key])!s:.60}) is not known for {config_class.model_type} and may "
            "change what the model computes; if its authors say that it changes nothing, remove it from the file"
        )


def parameters_of(config_class: type[PretrainedConfig]) -> set[str]:
    """What the class takes by name, and older names of the same."""
    classes = [cls for cls in config_class.__mro__ if issubclass(cls, PretrainedConfig)]
    named = {name for cls in classes for name in inspect.signature(cls.__init__).parameters}
    return (named - {"self", "kwargs"}) | set(getattr(config_class, "attribute_map", {}))


@cache
def words_of_code(config_class: type[PretrainedConfig]) -> frozenset[str]:
    """Of architectures whose code also asks for keys that no signature names, as DeBERTa's does."""
    module = config_class.__module__
    specs = [find_spec(name) for name in {module, module.replace(".configuration_", ".modeling_")}]
    files = [Path(spec.origin) for spec in specs if spec and spec.origin]
    return frozenset(word for file in files for word in re.findall(r"\w+", file.read_text(encoding="utf-8")))
