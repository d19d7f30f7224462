"""Every parameter that a rank holds, as Megatron-Core and models/ build them: exact, held to the real model by a test.

A reward model has no vocabulary output layer. The embedding, the linear layers and the adapters are cut over the
tensor-parallel ranks; norms and the head are on each of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from nemo_hs2pref.config.architecture import Architecture
from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.launch.plan.layout import Layout

QKV, DENSE, FC1, FC2 = "attention_qkv", "attention_dense", "mlp_fc1", "mlp_fc2"  # NeMo's names of LoRA's targets
GROUPS = {"attention": (QKV, DENSE), "mlp": (FC1, FC2), "all": (QKV, DENSE, FC1, FC2)}


@dataclass(frozen=True)
class Parameter:
    """One tensor of a rank."""

    name: str
    size: int  # numbers on this rank
    trained: bool
    is_head: bool = False  # float32 in every precision


def rank_parameters(config: RunConfig, architecture: Architecture, layout: Layout, stage: int) -> list[Parameter]:
    """Of any rank of pipeline stage `stage`, in the order of the model's own list."""
    all_trained = config.model.peft.lora_tuning is None
    hidden = architecture.hidden_size
    found: list[Parameter] = []
    if stage == 0:
        found.append(Parameter("embedding", architecture.embedding_rows // layout.tensor * hidden, all_trained))
    for layer in layout.layers(stage, architecture.num_layers):
        found += layer_parameters(config, architecture, layout.tensor, layer)
    if stage == layout.pipeline - 1:
        found.append(Parameter("final_norm", hidden, all_trained))
        found += ending_parameters(config, hidden)
    return found


def layer_parameters(config: RunConfig, architecture: Architecture, tensor: int, layer: int) -> Iterator[Parameter]:
    """Norms, and the linear layers as (inputs, outputs), each with its adapter where there is one."""
    hidden, ffn, context = architecture.hidden_size, architecture.ffn_hidden_size, architecture.context_size
    shapes = {
        DENSE: (context, hidden),
        QKV: (hidden, architecture.qkv_size),
        FC1: (hidden, 2 * ffn),  # gate and up
        FC2: (ffn, hidden),
    }
    tuning = config.model.peft.lora_tuning
    adapted, rank = adapted_layers(config), tuning.adapter_dim if tuning else 0
    for norm, targets, adapters in (
        ("input_norm", (DENSE, QKV), (QKV, DENSE)),
        ("mlp_norm", (FC1, FC2), (FC1, FC2)),
    ):
        yield Parameter(f"{layer}.{norm}", hidden, tuning is None)
        for name in targets:
            inputs, outputs = shapes[name]
            yield Parameter(f"{layer}.{name}", inputs * outputs // tensor, tuning is None)
            if name == QKV and architecture.qkv_bias:
                yield Parameter(f"{layer}.{name}.bias", outputs // tensor, tuning is None)
        for name in adapters:
            if name in adapted:
                inputs, outputs = shapes[name]
                yield Parameter(f"{layer}.{name}.lora_a", rank * inputs // tensor, True)
                yield Parameter(f"{layer}.{name}.lora_b", outputs * rank // tensor, True)


def adapted_layers(config: RunConfig) -> set[str]:
    """The linear layers that have an adapter; empty without LoRA."""
    tuning = config.model.peft.lora_tuning
    return {layer for name in tuning.target_modules for layer in GROUPS.get(name, (name,))} if tuning else set()


def ending_parameters(config: RunConfig, hidden: int) -> Iterator[Parameter]:
    """A reward head, as the recipe's footprint has it."""
    for name, slots in config.footprint.ending:
        yield Parameter(name, slots * hidden, True, is_head=True)
    for name, slots in config.footprint.ending_biases:
        yield Parameter(name, slots, True, is_head=True)


def ending_of(config: RunConfig) -> list[str]:
    """What stands behind the final norm, by the first part of its names."""
    return list(dict.fromkeys(name.partition(".")[0] for name, _ in config.footprint.ending))


def whole_model(config: RunConfig, architecture: Architecture) -> list[Parameter]:
    """Of the model in one piece."""
    return rank_parameters(config, architecture, Layout(1, 1, 1, 1, 1), 0)
