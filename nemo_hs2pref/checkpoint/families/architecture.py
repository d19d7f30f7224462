"""What a Llama is made of in Hugging Face's files: names and shapes of its tensors, and what converts of it."""

from collections.abc import Callable

from torch import Tensor
from transformers import LlamaConfig

from nemo_hs2pref.checkpoint.families.limits import refuse_huge
from nemo_hs2pref.errors import CheckpointError

EMBEDDING, NORM, LM_HEAD = "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"
Shape = tuple[int, ...]
ReadTensor = Callable[[str], Tensor]


def refuse_unsupported(config: LlamaConfig, where: str) -> None:
    """Raise CheckpointError for what NeMo's GPT would compute otherwise, or not at all."""
    refuse_huge(vars(config), where)
    rope = (config.rope_scaling or {}).get("rope_type", "default")
    refusals = {
        "attention_bias is true; only Llamas without biases convert": config.attention_bias,
        "mlp_bias is true; only Llamas without biases convert": config.mlp_bias,
        f"hidden_act is {config.hidden_act!r}; only 'silu' converts": config.hidden_act != "silu",
        f"rope_scaling is of type {rope!r}; only 'llama3' and none convert": rope not in ("default", "llama3"),
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


def bias_shapes(config: LlamaConfig) -> dict[str, Shape]:
    """The biases of a Llama that has them; none converts."""
    rows = {"self_attn": ("q_proj", "k_proj", "v_proj", "o_proj")} if config.attention_bias else {}
    rows |= {"mlp": ("gate_proj", "up_proj", "down_proj")} if config.mlp_bias else {}
    biased = {f"{room}.{name}" for room, names in rows.items() for name in names}
    weights = body_shapes(config, config.num_hidden_layers)
    return {
        f"{name.removesuffix('weight')}bias": shape[:1]
        for name, shape in weights.items()
        if ".".join(name.split(".")[-3:-1]) in biased
    }


def lm_head_shapes(config: LlamaConfig) -> dict[str, Shape]:
    """What ends a language model: nothing of its own where the embeddings are tied."""
    return {} if config.tie_word_embeddings else {LM_HEAD: (config.vocab_size, config.hidden_size)}
