"""The tokenizer of an exported reward model: it gives transformers the tokens that training saw, and no others.

chat_template   the training template
BOS and EOS     never added: training text has none but what its template writes
length          of the longest row of training
padding         by a token that the text never has, since transformers finds the end of a row as its last token
                that is not padding: with padding by EOS, as Llama's tokenizers are often used, a template that
                ends in EOS would be read out one token early
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nemo_hs2pref.checkpoint.hugging_face.chat_templates import chat_template
from nemo_hs2pref.data.tokenizers import open_tokenizer, save_tokenizer
from nemo_hs2pref.errors import CheckpointError

NEW_PAD = "<|pad|>"
ADDING = "TemplateProcessing"  # the step in tokenizer.json that puts BOS and EOS around a text


def write_reward_tokenizer(
    source: Path, destination: Path, template: str, vocab_size: int, side: str, max_length: int
) -> int:
    """Write the tokenizer of folder `source` into `destination`; returns the id of its padding token.

    vocab_size: rows of the embedding. side: on which batches are padded, "right" or "left". max_length: tokens.
    """
    tokenizer = open_tokenizer(source, CheckpointError)
    tokenizer.chat_template = chat_template(template, tokenizer)
    tokenizer.add_special_tokens({"pad_token": padding_token(tokenizer, vocab_size)})
    inputs = ["input_ids", "attention_mask"]  # all that Llama takes
    settings: dict[str, Any] = {
        "padding_side": side,
        "model_input_names": inputs,
        "model_max_length": max_length,
    }
    for key in ("add_bos_token", "add_eos_token"):  # of Llama's own tokenizer class
        if hasattr(tokenizer, key):
            settings[key] = False
    for key, value in settings.items():
        setattr(tokenizer, key, value)
        tokenizer.init_kwargs[key] = value  # what is saved
    save_tokenizer(tokenizer, destination, CheckpointError)
    if tokenizer.is_fast:
        add_nothing(destination / "tokenizer.json")
        name_plain_class(destination / "tokenizer_config.json")
    written = open_tokenizer(destination, CheckpointError)
    if written("text")["input_ids"] != written("text", add_special_tokens=False)["input_ids"]:
        raise CheckpointError(f"{source}: {type(tokenizer).__name__} adds tokens to every text, training added none")
    return tokenizer.pad_token_id


def add_nothing(file: Path) -> None:
    """Take the step that adds BOS and EOS out of tokenizer.json, if there is one."""
    content = json.loads(file.read_text())
    step = content["post_processor"]
    if step and step["type"] == ADDING:
        content["post_processor"] = None
    if step and step["type"] == "Sequence":
        step["processors"] = [part for part in step["processors"] if part["type"] != ADDING]
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2))


def name_plain_class(file: Path) -> None:
    """The class that takes tokenizer.json as it is.

    transformers 5's LlamaTokenizer puts a splitter of its own in the place of the file's, and gives other tokens.
    """
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"tokenizer_class": "PreTrainedTokenizerFast"}, ensure_ascii=False, indent=2))


def padding_token(tokenizer: Any, vocab_size: int) -> str:
    """The best token to pad with: its own, one named for it, a reserved one, a new one, or any that is not used."""
    chosen = next(padding_candidates(tokenizer, vocab_size), None)
    if chosen is None:
        raise CheckpointError(
            f"{tokenizer.name_or_path}: every special token stands in its chat template, so none can pad; add one to "
            "the tokenizer and a row to the embedding, and convert again"
        )
    return chosen


def padding_candidates(tokenizer: Any, vocab_size: int) -> Iterator[str]:
    """Special tokens that the chat template does not write, best first."""
    used = tokenizer.chat_template
    ends = {tokenizer.bos_token, tokenizer.eos_token}
    special = [token.content for _, token in sorted(tokenizer.added_tokens_decoder.items()) if token.special]
    free = [token for token in special if token not in used and token not in ends]
    if tokenizer.pad_token in free and tokenizer.pad_token != tokenizer.unk_token:
        yield tokenizer.pad_token
    yield from (token for token in free if "pad" in token.lower())
    yield from (token for token in free if "reserved" in token.lower())
    if len(tokenizer) < vocab_size:
        yield NEW_PAD
    yield from free
    # an end token that the template neither writes out nor names
    yield from (token for token in special if token in ends and token not in used and "s_token" not in used)
