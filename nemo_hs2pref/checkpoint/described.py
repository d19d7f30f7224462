"""What is read of a checkpoint's model_config.yaml and hs2pref.json, by type; every other key is left alone.

Checked where a file is read, so that no later line meets text in the place of a number.
"""

from collections.abc import Mapping
from typing import Any, TypedDict

from nemo_hs2pref.checkpoint.families.limits import refuse_huge
from nemo_hs2pref.decode import from_plain
from nemo_hs2pref.errors import CheckpointError, HS2PrefError


class Head(TypedDict):
    """`head` of model_config.yaml."""

    attributes: list[str]
    reward_weights: list[float]
    bias: bool
    template: str


class GivenHead(TypedDict, total=False):
    """What a user may have written there into the file of another project."""

    attributes: list[str] | None
    reward_weights: list[float] | None
    template: str | None


class Regression(TypedDict, total=False):
    """`regression` of NeMo-Aligner."""

    attribute_weights: list[float] | None


class LoraTuning(TypedDict, total=False):
    """`peft.lora_tuning`."""

    adapter_dim: int
    alpha: float


class Peft(TypedDict, total=False):
    """`peft`."""

    peft_scheme: str | None
    lora_tuning: LoraTuning | None


class Tokenizer(TypedDict, total=False):
    """`tokenizer`."""

    library: str | None
    type: str | None
    model: str | None


class OriginConfig(TypedDict, total=False):
    """`hugging_face.config`."""

    max_position_embeddings: int
    bos_token_id: int | None
    eos_token_id: int | list[int] | None
    pad_token_id: int | None


class Origin(TypedDict, total=False):
    """`hugging_face`: what Hugging Face's files said."""

    config: OriginConfig
    generation_config: dict[str, Any] | None


class Common(TypedDict, total=False):
    """Of every model_config.yaml; what must be there, who needs it says."""

    target: str | None
    num_layers: int
    hidden_size: int
    ffn_hidden_size: int
    num_attention_heads: int
    layernorm_epsilon: float
    num_query_groups: int | None
    kv_channels: int | None
    override_vocab_size: int | None
    init_method_std: float
    rotary_base: float
    rotary_percentage: float
    scale_positional_embedding: bool | None
    scale_factor: float
    low_freq_factor: float
    high_freq_factor: float
    old_context_len: int
    share_embeddings_and_output_weights: bool
    precision: int | str
    tokenizer: Tokenizer | None
    peft: Peft | None
    hugging_face: Origin


class Own(Common, total=False):
    """Of a model that we wrote, or of another one as we read it."""

    encoder_seq_length: int
    vocab_size: int
    max_position_embeddings: int
    head: Head | None


class Foreign(Common, total=False):
    """Of a model that NeMo 1.x or NeMo-Aligner wrote."""

    encoder_seq_length: int
    vocab_size: int | None
    max_position_embeddings: int | None
    head: GivenHead | None
    regression: Regression | None


class Loss(TypedDict, total=False):
    """`run.loss`."""

    name: str


class Start(TypedDict, total=False):
    """`run.pretrained_checkpoint`."""

    restore_from_path: str | None


class Data(TypedDict, total=False):
    """`run.data`."""

    dir: str | None


class Run(TypedDict, total=False):
    """`run` of hs2pref.json: the configuration of the run that wrote the checkpoint."""

    loss: Loss | None
    pretrained_checkpoint: Start | None
    data: Data | None


class Spread(TypedDict):
    """A mean and a standard deviation."""

    mean: float
    std: float


class Measured(TypedDict):
    """A file that figures were measured on."""

    name: str


class Figures(TypedDict):
    """`standardization`."""

    rows: int
    input: Measured
    reward: Spread
    attributes: dict[str, Spread]


class Extrapolated(TypedDict):
    """`extrapolated`."""

    weak: str
    strong: str
    alpha: float


class Part(TypedDict):
    """One of `averaged`."""

    model: str
    weight: float


class Merged(TypedDict):
    """`merged`."""

    adapter: str
    base: str


class Base(TypedDict):
    """`base` of LoRA adapters."""

    path: str
    fingerprint: str


class Manifest(TypedDict, total=False):
    """hs2pref.json."""

    step: int | None
    metrics: dict[str, Any] | None
    run: Run | None
    data: dict[str, str] | None
    standardization: Figures | None
    extrapolated: Extrapolated | None
    averaged: list[Part] | None
    merged: Merged | None
    base: Base
    layout: str
    tool_version: str


def refuse_other_config(config: Mapping[str, Any], where: object, kind: type[Own] | type[Foreign] = Own) -> None:
    """Raise CheckpointError, naming the key, for a model_config.yaml that is none."""
    known = from_plain(kind, dict(config), where, CheckpointError)
    refuse_huge(config, where)
    refuse_huge(known.get("hugging_face", {}).get("config", {}), where)
    head = known.get("head") or {}
    names, weights = head.get("attributes"), head.get("reward_weights")
    if names is not None and weights is not None and len(names) != len(weights):
        raise CheckpointError(f"{where}: head has {len(names)} attributes and {len(weights)} reward_weights")


def refuse_other_manifest(
    manifest: Mapping[str, Any], where: object, error: type[HS2PrefError] = CheckpointError
) -> None:
    """Raise `error`, naming the key, for an hs2pref.json that is none."""
    from_plain(Manifest, dict(manifest), where, error)
