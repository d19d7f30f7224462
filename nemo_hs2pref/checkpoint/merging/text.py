"""What makes text and numbers of it: two models that differ there cannot be combined, whatever their tensors are."""

import hashlib
import json
from typing import Any

PARTS = ("normalizer", "pre_tokenizer", "model")  # of tokenizer.json; padding and truncation are the caller's
DIGITS = 12  # of a hash


def settings_of(tokenizer: Any, template: str | None) -> dict[str, str]:
    """For `Model.settings`: hashes of how text becomes tokens, and of the chat template where that makes the text."""
    backend = json.loads(tokenizer.backend_tokenizer.to_str()) if tokenizer.is_fast else {}
    settings = {"its tokenizer": digest([tokenizer.get_vocab(), *(backend.get(part) for part in PARTS)])}
    if template in (None, "tokenizer"):
        settings["its chat template"] = digest([tokenizer.chat_template, tokenizer.bos_token, tokenizer.eos_token])
    return settings


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:DIGITS]
