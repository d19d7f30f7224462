"""The families that are converted."""

from collections.abc import Mapping
from typing import Any

from nemo_hs2pref.checkpoint.families import llama, qwen2
from nemo_hs2pref.checkpoint.families.family import Family
from nemo_hs2pref.checkpoint.layout import QKV_BIAS

FAMILIES = {family.model_type: family for family in (llama.FAMILY, qwen2.FAMILY)}


def family_of(config: Any) -> Family:
    """Of transformers' configuration of one of FAMILIES."""
    return FAMILIES[config.model_type]


def stored_family(config: Mapping[str, Any]) -> Family:
    """Of a model_config.yaml, by what its model has."""
    return qwen2.FAMILY if config.get(QKV_BIAS) else llama.FAMILY
