"""What a decoder is made of in Hugging Face's files: names and shapes of its tensors, and what converts of it."""

from collections.abc import Callable

from torch import Tensor
from transformers import PretrainedConfig

from nemo_hs2pref.checkpoint.families.family import head_size
from nemo_hs2pref.checkpoint.families.limits import refuse_huge
from nemo_hs2pref.checkpoint.families.table import family_of
from nemo_hs2pref.errors import CheckpointError

EMBEDDING, NORM, LM_HEAD = "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"
QKV_BIASES = tuple(f"self_attn.{name}_proj.bias" for name in "qkv")
Shape = tuple[int, ...]
ReadTensor = Callable[[str], Tensor]


def refuse_unsupported(config: PretrainedConfig, where: str) -> None:
    """Raise CheckpointError for what NeMo's GPT would compute otherwise, or not at all."""
    refuse_huge(vars(config), where)
    for sentence, refused in family_of(config).refusals(config).items():
        if refused:
            raise CheckpointError(f"{where}: {sentence}")


def body_shapes(config: PretrainedConfig, num_layers: int) -> dict[str, Shape]:
    """Name and shape of every tensor of a model with its first `num_layers` layers, without the one that ends it."""
    hidden, ffn, size = config.hidden_size, config.intermediate_size, head_size(config)
    query, value = config.num_attention_heads * size, config.num_key_value_heads * size
    layer: dict[str, Shape] = {
        "input_layernorm.weight": (hidden,),
        "self_attn.q_proj.weight": (query, hidden),
        "self_attn.k_proj.weight": (value, hidden),
        "self_attn.v_proj.weight": (value, hidden),
        **(dict(zip(QKV_BIASES, ((query,), (value,), (value,)), strict=True)) if family_of(config).qkv_bias else {}),
        "self_attn.o_proj.weight": (hidden, query),
        "post_attention_layernorm.weight": (hidden,),
        "mlp.gate_proj.weight": (ffn, hidden),
        "mlp.up_proj.weight": (ffn, hidden),
        "mlp.down_proj.weight": (hidden, ffn),
    }
    shapes: dict[str, Shape] = {EMBEDDING: (config.vocab_size, hidden)}
    for i in range(num_layers):
        shapes |= {f"model.layers.{i}.{name}": shape for name, shape in layer.items()}
    return shapes | {NORM: (hidden,)}


def bias_shapes(config: PretrainedConfig) -> dict[str, Shape]:
    """The biases of a Llama that has them; none converts."""
    has_bias, mlp_has = getattr(config, "attention_bias", False), getattr(config, "mlp_bias", False)
    rows = {"self_attn": ("q_proj", "k_proj", "v_proj", "o_proj")} if has_bias else {}
    rows |= {"mlp": ("gate_proj", "up_proj", "down_proj")} if mlp_has else {}
    biased = {f"{room}.{name}" for room, names in rows.items() for name in names}
    weights = body_shapes(config, config.num_hidden_layers)
    return {
        f"{name.removesuffix('weight')}bias": shape[:1]
        for name, shape in weights.items()
        if name.endswith(".weight") and ".".join(name.split(".")[-3:-1]) in biased
    }


def lm_head_shapes(config: PretrainedConfig) -> dict[str, Shape]:
    """What ends a language model: nothing of its own where the embeddings are tied."""
    return {} if config.tie_word_embeddings else {LM_HEAD: (config.vocab_size, config.hidden_size)}
