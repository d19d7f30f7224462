"""The tokenizer of a Hugging Face folder, and the text that its reward model reads."""

from pathlib import Path
from typing import Any

from nemo_hs2pref.checkpoint.layout import HF_CONFIG, HF_KEY
from nemo_hs2pref.data.records import Message
from nemo_hs2pref.data.templates import TEMPLATES, render
from nemo_hs2pref.data.templates.tokens import token_ids
from nemo_hs2pref.data.tokenizers import open_tokenizer, size_of, without_default
from nemo_hs2pref.errors import CheckpointError, HS2PrefError

OWN = "tokenizer"  # the template that is the tokenizer's own
SAMPLE = (Message("user", "x"), Message("assistant", "x"))


def read_tokenizer(folder: Path, config: Any) -> Any:
    """Raises CheckpointError where there is none, or where it has tokens that the model does not embed."""
    tokenizer = open_tokenizer(folder, CheckpointError, config)
    refuse_larger(tokenizer, config, folder)
    return tokenizer


def refuse_larger(tokenizer: Any, config: Any, where: Path) -> None:
    """Than the embedding."""
    tokens, embeddings = size_of(tokenizer), getattr(config, "vocab_size", None)
    if embeddings is not None and tokens > embeddings:
        raise CheckpointError(
            f"{where}: the tokenizer has {tokens} tokens, the model embeds {embeddings}; "
            "call model.resize_token_embeddings and save it, or put the model's own tokenizer there"
        )


def template_of(config: Any) -> str:
    """The name of the template that a reward model was trained with."""
    return getattr(config, HF_KEY, {}).get("template", OWN)


def refuse_no_template(folder: Path, template: str, tokenizer: Any) -> None:
    """Of several chat templates the default is taken, as transformers does."""
    how = (
        f"put it into {folder / 'chat_template.jinja'}, or name one of ours that training used in {HF_CONFIG} as "
        f'"{HF_KEY}": {{"template": "llama3"}} ({", ".join(TEMPLATES)})'
    )
    if template not in TEMPLATES:
        raise CheckpointError(f"{folder / HF_CONFIG}: template {template!r} is not known; {how}")
    if template != OWN:
        return
    names = without_default(tokenizer.chat_template)
    if names is not None or (has_others(folder) and tokenizer.chat_template is None):
        raise CheckpointError(
            f"{folder}: the tokenizer has chat templates ({', '.join(names or others(folder))}) and none is the "
            f"default; choose the one that training used and {how}"
        )
    if not tokenizer.chat_template:
        raise CheckpointError(f"{folder}: the tokenizer has no chat template, so its text is not known; {how}")
    if isinstance(tokenizer.chat_template, dict):
        tokenizer.chat_template = tokenizer.chat_template["default"]


def others(folder: Path) -> list[str]:
    """Names of templates beside the default one, as newer versions of transformers save them."""
    return sorted(file.stem for file in (folder / "additional_chat_templates").glob("*.jinja"))


def has_others(folder: Path) -> bool:
    return bool(others(folder))


def ends_with_padding(config: Any, template: str, tokenizer: Any) -> bool:
    """Whether transformers, which takes the last token that is not padding for the end, would stop before the end."""
    try:
        last = token_ids([render(SAMPLE, template, tokenizer)], tokenizer)[0][-1]
    except HS2PrefError:
        return False
    return last == config.pad_token_id
