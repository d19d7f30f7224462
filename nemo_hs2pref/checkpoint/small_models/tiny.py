"""Models of random weights, shaped as Llama 3.1 and Qwen2.5, for tests of layouts and schedulers.

8 heads and 4 key-value heads divide by 2 and 4, 4 layers by 2 and 4; the vocabulary is not a multiple of 128, and
RoPE scaling changes positions beyond 32 already, so that a layout or a scaling that goes wrong is seen.
"""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

SIZES = {
    "vocab_size": 1003,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
    "initializer_range": 0.08,  # wide enough that attention is not uniform
}
LLAMA = {
    "rms_norm_eps": 1e-5,
    "rope_theta": 500_000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 256,
    },
}
QWEN = {"rms_norm_eps": 1e-6, "rope_theta": 1_000_000.0}


def write_llama_tiny(folder: Path) -> Path:
    """Write the Llama as a Hugging Face folder, float32; every byte of a text is a token."""
    torch.manual_seed(0)
    return with_tokenizer(LlamaForCausalLM(LlamaConfig(**SIZES, **LLAMA)), folder)


def write_qwen_tiny(folder: Path) -> Path:
    """The same of the Qwen, whose biases are no zeros, as transformers would begin with."""
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(**SIZES, **QWEN))
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return with_tokenizer(model, folder)


def with_tokenizer(model: PreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({character: i for i, character in enumerate(alphabet)}, []))
    # the package's stub lacks the setters
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.add_special_tokens(["<s>", "</s>"])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    return folder


TINY = {"llama_tiny": write_llama_tiny, "qwen_tiny": write_qwen_tiny}  # name at `convert from-hf` -> what writes it
