"""The tensors of a megatron-core checkpoint as Hugging Face's, one at a time: the inverse of to_mcore."""

from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import PretrainedConfig

from nemo_hs2pref.checkpoint.families import architecture, fused
from nemo_hs2pref.checkpoint.families.family import head_size
from nemo_hs2pref.checkpoint.families.table import family_of
from nemo_hs2pref.checkpoint.families.to_mcore import ATTENTION, EMBEDDING, MLP, NORM, body
from nemo_hs2pref.checkpoint.torch_dist.reading import StoredTensors
from nemo_hs2pref.errors import CheckpointError


def refuse_other_tensors(stored: StoredTensors, config: PretrainedConfig) -> None:
    """Raise CheckpointError where a tensor of the body is missing or of another shape than the configuration's.

    The embedding may have any number of rows of padding: NeMo's depends on the layout that first wrote it.
    """
    for piece in body(lambda _: torch.empty(0), config, config.num_hidden_layers, torch.float32):
        if piece.key not in stored.entries:
            raise CheckpointError(f"{stored.folder}: tensor {piece.key} is missing; copy the checkpoint again")
        shape, _ = stored.entries[piece.key]
        fits = shape[0] >= config.vocab_size and shape[1:] == piece.size[1:]
        if not (fits if piece.key == EMBEDDING else shape == piece.size):
            raise CheckpointError(
                f"{stored.folder}: tensor {piece.key} has shape {shape}; model_config.yaml asks for {piece.size}"
            )


def body_tensors(stored: StoredTensors, config: PretrainedConfig) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor in the order of architecture.body_shapes, without the rows of vocabulary padding."""
    yield architecture.EMBEDDING, stored.read(EMBEDDING, rows=(0, config.vocab_size))
    for layer in range(config.num_hidden_layers):
        for name, tensor in layer_tensors(stored, config, layer):
            yield f"model.layers.{layer}.{name}", tensor
    yield architecture.NORM, stored.read(NORM)


def layer_tensors(stored: StoredTensors, config: PretrainedConfig, layer: int) -> Iterator[tuple[str, Tensor]]:
    ffn, groups, size = config.intermediate_size, config.num_key_value_heads, head_size(config)
    yield "input_layernorm.weight", stored.read(ATTENTION + "linear_qkv.layer_norm_weight", layer=layer)
    grouped = stored.read(ATTENTION + "linear_qkv.weight", layer=layer)
    for name, tensor in zip("qkv", fused.ungroup_qkv(grouped, groups=groups, size=size), strict=True):
        yield f"self_attn.{name}_proj.weight", tensor
    if family_of(config).qkv_bias:
        biases = stored.read(ATTENTION + "linear_qkv.bias", layer=layer).unsqueeze(1)
        for name, bias in zip(
            architecture.QKV_BIASES, fused.ungroup_qkv(biases, groups=groups, size=size), strict=True
        ):
            yield name, bias.squeeze(1)
    yield "self_attn.o_proj.weight", stored.read(ATTENTION + "linear_proj.weight", layer=layer)
    yield "post_attention_layernorm.weight", stored.read(MLP + "linear_fc1.layer_norm_weight", layer=layer)
    yield "mlp.gate_proj.weight", stored.read(MLP + "linear_fc1.weight", layer=layer, rows=(0, ffn))
    yield "mlp.up_proj.weight", stored.read(MLP + "linear_fc1.weight", layer=layer, rows=(ffn, 2 * ffn))
    yield "mlp.down_proj.weight", stored.read(MLP + "linear_fc2.weight", layer=layer)
