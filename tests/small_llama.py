"""A random Llama that is small enough for every test, as Hugging Face saves it."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HIDDEN, FFN, HEADS, GROUPS, HEAD_DIM, VOCAB, LAYERS = 64, 96, 4, 2, 24, 1003, 3
ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def llama_config(**changes: Any) -> LlamaConfig:
    defaults: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": GROUPS,
        "head_dim": HEAD_DIM,  # not HIDDEN / HEADS, as in some Llama 3.2
        "max_position_embeddings": 512,
        "rope_theta": 500000.0,
        "rope_scaling": dict(ROPE),
    }
    return LlamaConfig(**(defaults | changes))


def save_llama(folder: Path, *, tokens: int = VOCAB, dtype: torch.dtype = torch.float32, **changes: Any) -> Path:
    """A random Llama as Hugging Face saves it, with a tokenizer of `tokens` words."""
    torch.manual_seed(0)
    shards = changes.pop("max_shard_size", "1GB")
    safe = changes.pop("safe_serialization", True)
    model = LlamaForCausalLM(llama_config(**changes)).to(dtype)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)  # norms too: all ones would hide a swap
    model.save_pretrained(folder, max_shard_size=shards, safe_serialization=safe)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(tokens)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue] no setter in stubs
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0", eos_token="w2").save_pretrained(folder)
    return folder
