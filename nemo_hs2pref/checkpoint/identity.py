"""Which model a checkpoint is: the same for every copy of it, wherever it lies, another after each further step.

    {"step": 400, "weights": "9f86..."}    step None where no manifest of ours tells it

Of what decides a reward (weights, tokenizer, configuration) sizes and samples are hashed: all bytes of a 70B model
would take minutes, and training changes its weights everywhere. An export of ours is the checkpoint it was made of.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

from nemo_hs2pref.checkpoint.layout import (
    CONFIG,
    HF_CONFIG,
    HF_KEY,
    MANIFEST,
    OPENRLHF_FIGURES,
    STANDARDIZATION,
    TOKENIZER,
    WEIGHTS,
)
from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.files import read_json, write_json

EXPORTED = "exported"  # under HF_KEY: the checkpoint's identity, and "as", the weights of the export itself
PARTS = (
    *(CONFIG, f"{WEIGHTS}/**/*", f"{TOKENIZER}/**/*"),
    *("context/**/*", "weights/**/*"),  # NeMo 2's
    *(HF_CONFIG, "*.safetensors", "*.bin", "tokenizer*", "chat_template*"),
)
SAMPLES, SAMPLE_BYTES = 16, 2**16


class Identity(TypedDict):
    """Of a model."""

    step: int | None
    weights: str  # empty where only the manifest was copied


def are_same(one: Identity, other: Identity) -> bool:
    """By the weights; where those of one are not there, by the step."""
    if one["weights"] and other["weights"]:
        return one["weights"] == other["weights"]
    return one["step"] is not None and one["step"] == other["step"]


def identity_of(path: Path) -> Identity:
    """Of the checkpoint at `path`, an archive or a folder; CheckpointError where it cannot be read."""
    try:
        weights = _weights_of(path)
        exported: dict[str, Any] = (_read(path / HF_CONFIG).get(HF_KEY) or {}).get(EXPORTED, {})
        if exported.get("as") == weights:  # else it was trained since
            return {"step": exported["step"], "weights": exported["weights"]}
        return {"step": _read(path / MANIFEST).get("step"), "weights": weights}
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); copy or save it again") from None


def was_changed(folder: Path) -> bool:
    """Whether another program trained an export of ours, or saved it anew; it keeps our figures in config.json."""
    exported: dict[str, Any] | None = (_read(folder / HF_CONFIG).get(HF_KEY) or {}).get(EXPORTED)
    return exported is not None and exported.get("as") != _weights_of(folder)


def note_export(folder: Path, source: Path) -> None:
    """Write into an export's configuration of which checkpoint it is, once all its files are there."""
    config = _read(folder / HF_CONFIG)
    config[HF_KEY][EXPORTED] = {**identity_of(source), "as": _weights_of(folder)}
    write_json(folder / HF_CONFIG, config)


def _weights_of(path: Path) -> str:
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted({file for part in PARTS for file in path.glob(part) if file.is_file()})
    for file in files:
        name = file.relative_to(path).as_posix()  # an archive's is "."
        parts = [_configuration(file)] if name == HF_CONFIG else _samples(file)
        digest.update(name.encode())
        for part in parts:
            digest.update(part)
    return digest.hexdigest() if files else ""


def _samples(file: Path) -> Iterator[bytes]:
    """The size, and the whole of a small file, of a large one pieces at equal distances, first and last bytes too."""
    size = file.stat().st_size
    yield str(size).encode()
    with open(file, "rb") as stream:
        if size <= SAMPLES * SAMPLE_BYTES:
            yield stream.read()
            return
        for number in range(SAMPLES):
            stream.seek(number * (size - SAMPLE_BYTES) // (SAMPLES - 1))
            yield stream.read(SAMPLE_BYTES)


def _configuration(file: Path) -> bytes:
    """Hugging Face's, without what is written into it later."""
    config = _read(file)
    for key in (STANDARDIZATION, EXPORTED):
        (config.get(HF_KEY) or {}).pop(key, None)
    for key in OPENRLHF_FIGURES:
        config.pop(key, None)
    return json.dumps(config, sort_keys=True).encode()


def _read(file: Path) -> dict[str, Any]:
    """Empty where it is not there."""
    return read_json(file, CheckpointError) if file.is_file() else {}
