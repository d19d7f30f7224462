"""The tokenizer that a checkpoint of NeMo names, as a folder of Hugging Face's files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nemo_hs2pref.checkpoint.layout import TOKENIZER
from nemo_hs2pref.errors import CheckpointError


def provide_tokenizer(named: Mapping[str, Any], near: Sequence[Path], target: Path, where: Path) -> None:
    """Make the folder `target`: a link to a tokenizer/ near the checkpoint, or what its configuration names.

    named: the section `tokenizer`. near: folders of the checkpoint. A name that is no folder is one of the hub,
    or of its cache. Raises CheckpointError where that is not to be had, or where it is SentencePiece's.
    """
    name = named.get("type") if named.get("library") == "huggingface" else None
    candidates = [folder / part for part in (TOKENIZER, name) if part for folder in near]
    if place := next((candidate for candidate in candidates if candidate.is_dir()), None):
        target.symlink_to(place.resolve())
        return
    if not name:
        raise missing(f"it is {named.get('library')}'s {named.get('model')}", where)
    from transformers import AutoTokenizer  # heavy

    try:
        AutoTokenizer.from_pretrained(name, trust_remote_code=False).save_pretrained(target)
    except Exception as error:  # transformers and the hub raise whatever they meet
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise missing(f"{name} is no folder here and not on the hub ({reason:.200})", where) from None


def missing(why: str, where: Path) -> CheckpointError:
    unpack = f"; unpack the archive first: tar -C FOLDER -xf {where}" if where.is_file() else ""
    folder = "FOLDER" if where.is_file() else where
    return CheckpointError(
        f"{where}: its tokenizer cannot be read: {why}; save the Hugging Face tokenizer of the same model as "
        f"{folder}/{TOKENIZER}{unpack}"
    )
