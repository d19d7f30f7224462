"""A decoder's tensors as the pieces of a megatron-core checkpoint, named as NeMo's MegatronGPTModel names them."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from transformers import PretrainedConfig

from nemo_hs2pref.checkpoint.families import architecture, fused
from nemo_hs2pref.checkpoint.families.family import head_size
from nemo_hs2pref.checkpoint.families.table import family_of
from nemo_hs2pref.checkpoint.torch_dist.pieces import LAYER, Piece, of_layer, whole

EMBEDDING, NORM = "model.embedding.word_embeddings.weight", "model.decoder.final_layernorm.weight"
OUTPUT_LAYER = "model.output_layer.weight"
ATTENTION, MLP = LAYER + "self_attention.", LAYER + "mlp."


def body(
    tensor: architecture.ReadTensor, config: PretrainedConfig, num_layers: int, dtype: torch.dtype
) -> Iterator[Piece]:
    """All but what ends the model."""
    yield vocabulary(EMBEDDING, architecture.EMBEDDING, tensor, config, dtype)
    for layer in range(num_layers):
        yield from layer_pieces(tensor, config, layer, num_layers, dtype)
    yield whole(NORM, dtype, (config.hidden_size,), lambda: tensor(architecture.NORM))


def vocabulary(
    key: str, name: str, tensor: architecture.ReadTensor, config: PretrainedConfig, dtype: torch.dtype
) -> Piece:
    """A matrix of one row a token, padded."""
    shape = fused.padded_vocabulary(config.vocab_size), config.hidden_size
    return whole(key, dtype, shape, lambda: fused.pad_vocabulary(tensor(name)))


def layer_pieces(
    tensor: architecture.ReadTensor, config: PretrainedConfig, layer: int, num_layers: int, dtype: torch.dtype
) -> Iterator[Piece]:
    """One transformer layer. Gate and up stay apart, as the two parts that megatron-core itself splits fc1 into."""
    hidden, ffn, groups = config.hidden_size, config.intermediate_size, config.num_key_value_heads
    queries, values = config.num_attention_heads * head_size(config), groups * head_size(config)

    def own(name: str) -> Callable[[], Tensor]:
        return lambda: tensor(f"model.layers.{layer}.{name}.weight")

    def qkv() -> Tensor:
        return fused.group_qkv(*(own(f"self_attn.{name}_proj")() for name in "qkv"), groups=groups)

    def qkv_bias() -> Tensor:
        biases = (tensor(f"model.layers.{layer}.{name}").unsqueeze(1) for name in architecture.QKV_BIASES)
        return fused.group_qkv(*biases, groups=groups).squeeze(1)

    def piece(key: str, shape: architecture.Shape, read: Callable[[], Tensor], part: tuple[int, int] = (0, 1)) -> Piece:
        return of_layer(key, dtype, shape, read, layer=layer, num_layers=num_layers, part=part)

    yield piece(ATTENTION + "linear_qkv.layer_norm_weight", (hidden,), own("input_layernorm"))
    yield piece(ATTENTION + "linear_qkv.weight", (queries + 2 * values, hidden), qkv)
    if family_of(config).qkv_bias:
        yield piece(ATTENTION + "linear_qkv.bias", (queries + 2 * values,), qkv_bias)
    yield piece(ATTENTION + "linear_proj.weight", (hidden, queries), own("self_attn.o_proj"))
    yield piece(MLP + "linear_fc1.layer_norm_weight", (hidden,), own("post_attention_layernorm"))
    yield piece(MLP + "linear_fc1.weight", (ffn, hidden), own("mlp.gate_proj"), part=(0, 2))
    yield piece(MLP + "linear_fc1.weight", (ffn, hidden), own("mlp.up_proj"), part=(1, 2))
    yield piece(MLP + "linear_fc2.weight", (hidden, ffn), own("mlp.down_proj"))
