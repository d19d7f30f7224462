"""A Hugging Face tokenizer from its folder, whichever version of transformers saved it; none of its code is run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nemo_hs2pref.errors import HS2PrefError
from nemo_hs2pref.files import read_json, refuse_unreadable

SETTINGS = "tokenizer_config.json"
FILES = (SETTINGS, "tokenizer.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja")
MOST_TOKENS = 2**24  # far above every vocabulary; a larger number is written out with every one below it
BY_FILE = ("TokenizersBackend", "PreTrainedTokenizerFast")  # classes of transformers 5 and 4 that tokenizer.json makes


def open_tokenizer(folder: Path, error: type[HS2PrefError], config: Any = None) -> Any:
    """The tokenizer in `folder`; raises `error` with one sentence where there is none that can be read.

    config: transformers' configuration of the model, which tells the class where the tokenizer's files do not.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast  # heavy

    for name in (*FILES, "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt"):
        if (folder / name).exists():
            refuse_unreadable(folder / name, error)
    settings = read_json(folder / SETTINGS, error) if (folder / SETTINGS).exists() else {}
    refuse_wrong_settings(settings, folder / SETTINGS, error)
    is_by_file = settings.get("tokenizer_class") in BY_FILE and (folder / "tokenizer.json").exists()
    known = {} if is_by_file else {"config": config, "trust_remote_code": False}
    try:
        kind = PreTrainedTokenizerFast if is_by_file else AutoTokenizer
        tokenizer = kind.from_pretrained(folder, **known, **as_version_4(settings))
    except Exception as fault:  # each class, and the tokenizers package, raise their own
        reason = (str(fault).strip() or type(fault).__name__).splitlines()[0]
        raise error(
            f"{folder}: no tokenizer that transformers can read ({reason:.200}); put the model's tokenizer.json and "
            f"{SETTINGS} there"
        ) from fault
    if not len(tokenizer):
        raise error(f"{folder}: its tokenizer has no tokens; put the model's tokenizer.json there")
    if (size := size_of(tokenizer)) > MOST_TOKENS:
        raise error(f"{folder}: its tokenizer has a token of number {size - 1:,}; expected less than {MOST_TOKENS:,}")
    return tokenizer


def refuse_wrong_settings(settings: Mapping[str, Any], where: Path, error: type[HS2PrefError]) -> None:
    """Those that transformers takes as they are, and that fail with the first row."""
    length, template = settings.get("model_max_length"), settings.get("chat_template")
    if length is not None and (isinstance(length, bool) or not isinstance(length, int | float) or not length >= 1):
        raise error(f"{where}: model_max_length is {length!r}; expected a number of tokens")
    parts: Any = template if isinstance(template, list) else []
    named = [part["template"] for part in parts if isinstance(part, dict) and {"name", "template"} <= part.keys()]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] JSON
    texts: list[Any] = named if len(named) == len(parts) and parts else [template]  # pyright: ignore[reportUnknownVariableType] JSON
    if template is not None and not all(isinstance(text, str) for text in texts):
        raise error(f"{where}: chat_template is {str(template)!r:.60}; expected text, or a list of name and template")


def as_version_4(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What replaces settings that transformers 5 writes otherwise: a list of special tokens that have no names."""
    extra = settings.get("extra_special_tokens")
    if not isinstance(extra, list):
        return {}
    more: list[Any] = [*(settings.get("additional_special_tokens") or []), *extra]
    return {"extra_special_tokens": {}, "additional_special_tokens": list(dict.fromkeys(map(content, more)))}


def content(token: Any) -> str:
    """Of a special token, which files have as text or as an object."""
    return token["content"] if isinstance(token, dict) else str(token)


def save_tokenizer(tokenizer: Any, folder: Path, error: type[HS2PrefError]) -> None:
    """As transformers saves it; raises `error` where its settings are of another kind than what it writes."""
    try:
        tokenizer.save_pretrained(folder)
    except (TypeError, ValueError, AttributeError, KeyError) as fault:
        raise error(
            f"{tokenizer.name_or_path}: transformers reads this tokenizer and cannot write it ({fault!s:.200}); put "
            f"the model's own {SETTINGS} there"
        ) from fault


def size_of(tokenizer: Any) -> int:
    """Rows of the embedding that its tokens need: numbers may have gaps."""
    return max(tokenizer.get_vocab().values(), default=-1) + 1


def without_default(chat_template: Any) -> list[str] | None:
    """The names of a tokenizer's chat templates, where it has several and none is the default; else None."""
    if not isinstance(chat_template, dict) or "default" in chat_template:
        return None
    return sorted(map(str, chat_template))  # pyright: ignore[reportUnknownArgumentType]
