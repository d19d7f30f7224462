"""A Hugging Face folder: the files that its index names, and all that the other verbs ask of it."""

from contextlib import suppress
from pathlib import Path

from nemo_hs2pref.checkpoint.families.table import FAMILIES
from nemo_hs2pref.checkpoint.hugging_face.folder.opened import open_folder
from nemo_hs2pref.checkpoint.safetensors.folder import weight_files
from nemo_hs2pref.checkpoint.safetensors.header import read_header
from nemo_hs2pref.checkpoint.verification.files import Look, look_at_safetensors
from nemo_hs2pref.checkpoint.verification.report import Report
from nemo_hs2pref.errors import CheckpointError


def looks(folder: Path, report: Report) -> dict[str, Look]:
    try:
        files = weight_files(folder)
    except CheckpointError as error:
        report.problems.append(str(error))
        return {}
    with suppress(CheckpointError):  # told below, by the look at that file
        report.tensors = sum(len(read_header(file)) for file in files)
    return {file.name: look_at_safetensors(file, names) for file, names in files.items()}


def compare_with_config(folder: Path) -> list[str]:
    """Configuration, shapes and tokenizer, as whoever scores, converts or combines the folder reads them; notes."""
    opened = open_folder(folder)
    if opened.is_decoder:
        return list(opened.notes)
    known, found = " or ".join(FAMILIES), opened.config.model_type
    note = f"shapes are not compared with config.json: model_type is {found}, not {known}"
    return [*opened.notes, note]
