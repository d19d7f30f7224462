"""Byte tokenizers with the special tokens and the chat template of a family, as transformers saves them."""

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

LLAMA3_TOKENS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
# Llama 3's own, in essence: a header and the trimmed content a message, BOS before the first.
LLAMA3_TEMPLATE = (
    "{% for message in messages %}"
    "{% set text = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' "
    "+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.first %}{% set text = bos_token + text %}{% endif %}{{ text }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
CHATML_TOKENS = ["<|im_start|>", "<|im_end|>", "<filename>"]
CHATML_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
)


def byte_tokenizer(special: list[str], chat_template: str | None = None, **named: str) -> Any:
    """Every byte is a token, every special token one more; BOS, where named, is put before what is encoded."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({character: i for i, character in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue] no setter in stubs
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    if "bos_token" in named:
        bos = named["bos_token"]
        tokenizer.post_processor = TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )  # pyright: ignore[reportAttributeAccessIssue]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=chat_template, **named)


def llama3() -> Any:
    return byte_tokenizer(LLAMA3_TOKENS, LLAMA3_TEMPLATE, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>")


def chatml() -> Any:
    return byte_tokenizer(CHATML_TOKENS, CHATML_TEMPLATE, bos_token="<|im_start|>", eos_token="<|im_end|>")


def saved(tokenizer: Any, folder: Path) -> str:
    """The folder as text, for LengthLimit."""
    tokenizer.save_pretrained(folder)
    return str(folder)
