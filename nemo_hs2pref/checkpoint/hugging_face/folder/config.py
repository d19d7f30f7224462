"""config.json as transformers' own class of configuration, whichever version of transformers saved it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING, PretrainedConfig

from nemo_hs2pref.checkpoint.families.limits import refuse_huge
from nemo_hs2pref.checkpoint.families.table import FAMILIES
from nemo_hs2pref.checkpoint.hugging_face.folder.keys import refuse_unknown_keys
from nemo_hs2pref.checkpoint.hugging_face.folder.rope import as_version_4
from nemo_hs2pref.checkpoint.hugging_face.folder.values import (
    ANY_MODEL,
    LLAMA,
    NEVER_NULL,
    OURS,
    refuse_indivisible,
    refuse_unknown_ours,
    refuse_wrong_values,
)
from nemo_hs2pref.checkpoint.layout import HF_ADAPTER, HF_CONFIG, HF_KEY, read_hugging_face_config
from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.files import read_json

QUANTIZED = ("quantization_config", "compression_config", "quantization")  # transformers', vLLM's and MLX's


def read_config(folder: Path) -> PretrainedConfig:
    """What `folder` says of its model, to the transformers that is installed.

    Raises CheckpointError, naming the key, for what that transformers would read otherwise than it was meant, or not
    at all.
    """
    refuse_no_model(folder)
    where = folder / HF_CONFIG
    stored = read_stored(folder)
    refuse_special(stored, where)
    refuse_huge(stored, where)
    refuse_unknown_ours(stored.get(HF_KEY) or {}, str(where))
    model_type = stored.get("model_type")
    if model_type not in CONFIG_MAPPING:
        raise CheckpointError(f"{where}: transformers cannot read it (model_type {model_type!r} is not known to it)")
    config_class: type[PretrainedConfig] = CONFIG_MAPPING[model_type]
    is_decoder = model_type in FAMILIES
    config = as_version_4(with_dtype(stored, where), where, is_llama=is_decoder)
    refuse_unknown_keys(config, config_class, where)
    if is_decoder:
        refuse_wrong_values(config, LLAMA, str(where), NEVER_NULL)
        refuse_indivisible(config, str(where))
    try:
        return config_class.from_dict(
            {key: value for key, value in config.items() if key not in ("torchscript", *QUANTIZED)}
        )
    except Exception as error:  # each class has its own checks, or none
        raise CheckpointError(f"{where}: transformers cannot read it ({str(error).splitlines()[0]})") from error


def read_stored(folder: Path) -> dict[str, Any]:
    """config.json as it stands there; raises CheckpointError where a key of every model, or of ours, is of no use."""
    where = folder / HF_CONFIG
    stored = read_hugging_face_config(folder)
    refuse_wrong_values(stored, ANY_MODEL, str(where))
    refuse_wrong_values(stored.get(HF_KEY) or {}, OURS, f'{where}, "{HF_KEY}"')
    return stored


def refuse_no_model(folder: Path) -> None:
    """Adapters have a base model's name in the place of a configuration."""
    if (folder / HF_ADAPTER).exists():
        base = read_json(folder / HF_ADAPTER, CheckpointError).get("base_model_name_or_path")
        raise CheckpointError(
            f"{folder}: holds adapters of {base}, not a whole model; merge them with PEFT's merge_and_unload, save the "
            "model and use that folder"
        )
    if not (folder / HF_CONFIG).exists():
        raise CheckpointError(f"{folder / HF_CONFIG}: not found; a Hugging Face model folder has one")


def refuse_special(stored: Mapping[str, Any], where: Path) -> None:
    if stored.get("auto_map") is not None:
        raise CheckpointError(
            f"{where}: names code of its own (auto_map), which is not run; expected a model of transformers'"
        )
    for key in QUANTIZED:
        if (section := stored.get(key)) is not None:
            method = section.get("quant_method", "") if isinstance(section, dict) else ""  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] JSON
            kind = f" ({method})" if method else ""
            raise CheckpointError(f"{where}: {key} says that weights are quantized{kind}; use the unquantized model")


def with_dtype(stored: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """transformers 5 calls torch_dtype `dtype`."""
    config = {key: value for key, value in stored.items() if key != HF_KEY or value is not None}
    dtype = config.pop("dtype", None)
    if dtype is not None:
        if config.get("torch_dtype") not in (None, dtype):
            raise CheckpointError(f"{where}: dtype is {dtype} and torch_dtype {config['torch_dtype']}; keep one")
        config["torch_dtype"] = dtype
        refuse_wrong_values(config, {"torch_dtype": ANY_MODEL["torch_dtype"]}, str(where))
    return config
