"""Llama's tensors, from Hugging Face's names and layout to megatron-core's.

The layouts differ in three places: the queries, keys and values of a group lie together in one matrix, the gate and
up projections are one matrix, and the vocabulary is padded. Everything else is a renaming. Shapes use V (vocabulary),
H (hidden), F (feed-forward), Q (heads), G (key/value groups) and D (head dimension).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import LlamaConfig

from nemo_hs2pref.checkpoint.hf_source import HFSource
from nemo_hs2pref.errors import CheckpointError

VOCAB_MULTIPLE = 128  # NeMo's make_vocab_size_divisible_by
LAYER = "model.decoder.layers."  # one name for all layers: the layer is an axis of the tensor in the checkpoint


class Weight(NamedTuple):
    """A piece of one tensor of the distributed checkpoint.

    layer: its place on the prepended layer axis; None for tensors without one.
    part: (i, n), the i-th of n equal parts along the first axis.
    """

    key: str
    value: Tensor
    layer: int | None = None
    part: tuple[int, int] = (0, 1)


def refuse_unsupported(config: LlamaConfig, where: str) -> None:
    """Raise CheckpointError for what NeMo's GPT would compute otherwise, or not at all."""
    rope = (config.rope_scaling or {}).get("rope_type", "default")
    architectures = config.architectures or ["LlamaForCausalLM"]
    refusals = {
        f"architectures is {architectures}; only LlamaForCausalLM converts": architectures != ["LlamaForCausalLM"],
        "attention_bias is true; only Llamas without biases convert": config.attention_bias,
        "mlp_bias is true; only Llamas without biases convert": config.mlp_bias,
        f"hidden_act is {config.hidden_act!r}; only 'silu' converts": config.hidden_act != "silu",
        f"rope_scaling is of type {rope!r}; only 'llama3' and none convert": rope not in ("default", "llama3"),
        "weights are quantized; convert the unquantized model": hasattr(config, "quantization_config"),
    }
    for sentence, refused in refusals.items():
        if refused:
            raise CheckpointError(f"{where}: {sentence}")


def expected_shapes(config: LlamaConfig, num_layers: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a Llama with its first `num_layers` layers, Hugging Face's way."""
    hidden, ffn, vocab = config.hidden_size, config.intermediate_size, config.vocab_size
    query, value = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    layer = {
        "input_layernorm": (hidden,),
        "self_attn.q_proj": (query, hidden),
        "self_attn.k_proj": (value, hidden),
        "self_attn.v_proj": (value, hidden),
        "self_attn.o_proj": (hidden, query),
        "post_attention_layernorm": (hidden,),
        "mlp.gate_proj": (ffn, hidden),
        "mlp.up_proj": (ffn, hidden),
        "mlp.down_proj": (hidden, ffn),
    }
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, hidden)}
    for i in range(num_layers):
        shapes |= {f"model.layers.{i}.{name}.weight": shape for name, shape in layer.items()}
    shapes["model.norm.weight"] = (hidden,)
    return shapes if config.tie_word_embeddings else shapes | {"lm_head.weight": (vocab, hidden)}


def checked_reader(source: HFSource, num_layers: int) -> Callable[[str], Tensor]:
    """`source.tensor` with checks: CheckpointError for missing tensors at once, for another shape when it is read."""
    shapes = expected_shapes(source.config, num_layers)
    if missing := sorted(shapes.keys() - source.tensor_names):
        raise CheckpointError(f"{source.name}: lacks {len(missing)} tensors of its config, e.g. {missing[0]}")

    def tensor(name: str) -> Tensor:
        value = source.tensor(name)
        if tuple(value.shape) != shapes[name]:
            raise CheckpointError(f"{source.name}: {name} is {tuple(value.shape)}; its config asks for {shapes[name]}")
        return value

    return tensor


def weights(tensor: Callable[[str], Tensor], config: LlamaConfig, num_layers: int) -> Iterator[Weight]:
    """Every weight of the checkpoint, one at a time, as NeMo's MegatronGPTModel.sharded_state_dict names them."""
    yield Weight("model.embedding.word_embeddings.weight", pad_vocabulary(tensor("model.embed_tokens.weight")))
    for layer in range(num_layers):
        yield from layer_weights(tensor, config, layer)
    yield Weight("model.decoder.final_layernorm.weight", tensor("model.norm.weight"))
    if not config.tie_word_embeddings:
        yield Weight("model.output_layer.weight", pad_vocabulary(tensor("lm_head.weight")))


def layer_weights(tensor: Callable[[str], Tensor], config: LlamaConfig, layer: int) -> Iterator[Weight]:
    """One transformer layer. Gate and up stay apart, as the two parts that megatron-core itself splits fc1 into."""
    attention, mlp = LAYER + "self_attention.", LAYER + "mlp."

    def own(name: str) -> Tensor:
        return tensor(f"model.layers.{layer}.{name}.weight")

    qkv = group_qkv(*(own(f"self_attn.{name}_proj") for name in "qkv"), groups=config.num_key_value_heads)
    yield Weight(attention + "linear_qkv.layer_norm_weight", own("input_layernorm"), layer)
    yield Weight(attention + "linear_qkv.weight", qkv, layer)
    yield Weight(attention + "linear_proj.weight", own("self_attn.o_proj"), layer)
    yield Weight(mlp + "linear_fc1.layer_norm_weight", own("post_attention_layernorm"), layer)
    yield Weight(mlp + "linear_fc1.weight", own("mlp.gate_proj"), layer, part=(0, 2))
    yield Weight(mlp + "linear_fc1.weight", own("mlp.up_proj"), layer, part=(1, 2))
    yield Weight(mlp + "linear_fc2.weight", own("mlp.down_proj"), layer)


def group_qkv(query: Tensor, key: Tensor, value: Tensor, *, groups: int) -> Tensor:
    """[Q*D, H], [G*D, H], [G*D, H] -> [(Q + 2G)*D, H], ordered by group: its queries, its key, its value.

    So a tensor-parallel rank, which gets consecutive rows, gets whole groups.
    """
    grouped = [rows.view(groups, -1, query.shape[-1]) for rows in (query, key, value)]
    return torch.cat(grouped, dim=1).view(-1, query.shape[-1])


def padded_vocabulary(size: int) -> int:
    """The next multiple of VOCAB_MULTIPLE."""
    return -(-size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE


def pad_vocabulary(embedding: Tensor) -> Tensor:
    """[V, H] -> [V padded, H], with rows of zeros."""
    rows = padded_vocabulary(len(embedding)) - len(embedding)
    return torch.nn.functional.pad(embedding, (0, 0, 0, rows)) if rows else embedding
