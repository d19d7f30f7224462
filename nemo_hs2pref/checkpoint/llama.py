"""What a Llama is made of in Hugging Face's files, and the three places in which megatron-core's layout differs.

The queries, keys and values of a group lie together in one matrix there, the gate and up projections are one matrix,
and the vocabulary is padded. Everything else is a renaming (llama_to_mcore, llama_from_mcore). Shapes use
V (vocabulary), H (hidden), F (feed-forward), Q (heads), G (key/value groups) and D (head dimension).
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from transformers import LlamaConfig

from nemo_hs2pref.checkpoint.hf_source import HFSource
from nemo_hs2pref.errors import CheckpointError

VOCAB_MULTIPLE = 128  # NeMo's make_vocab_size_divisible_by
EMBEDDING, NORM, LM_HEAD = "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"
Shape = tuple[int, ...]
ReadTensor = Callable[[str], Tensor]


def refuse_unsupported(config: LlamaConfig, where: str) -> None:
    """Raise CheckpointError for what NeMo's GPT would compute otherwise, or not at all."""
    rope = (config.rope_scaling or {}).get("rope_type", "default")
    refusals = {
        "attention_bias is true; only Llamas without biases convert": config.attention_bias,
        "mlp_bias is true; only Llamas without biases convert": config.mlp_bias,
        f"hidden_act is {config.hidden_act!r}; only 'silu' converts": config.hidden_act != "silu",
        f"rope_scaling is of type {rope!r}; only 'llama3' and none convert": rope not in ("default", "llama3"),
        "weights are quantized; convert the unquantized model": hasattr(config, "quantization_config"),
    }
    for sentence, refused in refusals.items():
        if refused:
            raise CheckpointError(f"{where}: {sentence}")


def body_shapes(config: LlamaConfig, num_layers: int) -> dict[str, Shape]:
    """Name and shape of every tensor of a Llama with its first `num_layers` layers, without the one that ends it."""
    hidden, ffn = config.hidden_size, config.intermediate_size
    query, value = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    layer: dict[str, Shape] = {
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
    shapes: dict[str, Shape] = {EMBEDDING: (config.vocab_size, hidden)}
    for i in range(num_layers):
        shapes |= {f"model.layers.{i}.{name}.weight": shape for name, shape in layer.items()}
    return shapes | {NORM: (hidden,)}


def lm_head_shapes(config: LlamaConfig) -> dict[str, Shape]:
    """What ends a language model: nothing of its own where the embeddings are tied."""
    return {} if config.tie_word_embeddings else {LM_HEAD: (config.vocab_size, config.hidden_size)}


def checked_reader(source: HFSource, shapes: Mapping[str, Shape]) -> ReadTensor:
    """`source.tensor` with checks: CheckpointError for missing tensors at once, for another shape when it is read."""
    if missing := sorted(shapes.keys() - source.tensor_names):
        raise CheckpointError(f"{source.name}: lacks {len(missing)} tensors of its config, e.g. {missing[0]}")

    def tensor(name: str) -> Tensor:
        value = source.tensor(name)
        if tuple(value.shape) != shapes[name]:
            raise CheckpointError(f"{source.name}: {name} is {tuple(value.shape)}; its config asks for {shapes[name]}")
        return value

    return tensor


def group_qkv(query: Tensor, key: Tensor, value: Tensor, *, groups: int) -> Tensor:
    """[Q*D, H], [G*D, H], [G*D, H] -> [(Q + 2G)*D, H], ordered by group: its queries, its key, its value.

    So a tensor-parallel rank, which gets consecutive rows, gets whole groups.
    """
    grouped = [rows.view(groups, -1, query.shape[-1]) for rows in (query, key, value)]
    return torch.cat(grouped, dim=1).view(-1, query.shape[-1])


def ungroup_qkv(grouped: Tensor, *, groups: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """[(Q + 2G)*D, H] -> [Q*D, H], [G*D, H], [G*D, H]; the inverse of group_qkv. size: D."""
    hidden = grouped.shape[-1]
    heads = grouped.view(groups, -1, size, hidden)
    query, key, value = heads[:, :-2], heads[:, -2], heads[:, -1]
    return query.reshape(-1, hidden), key.reshape(-1, hidden), value.reshape(-1, hidden)


def padded_vocabulary(size: int) -> int:
    """The next multiple of VOCAB_MULTIPLE."""
    return -(-size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE


def pad_vocabulary(embedding: Tensor) -> Tensor:
    """[V, H] -> [V padded, H], with rows of zeros."""
    rows = padded_vocabulary(len(embedding)) - len(embedding)
    return torch.nn.functional.pad(embedding, (0, 0, 0, rows)) if rows else embedding
