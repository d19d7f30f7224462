"""Checkpoints that others wrote, as a folder of our layout: a view, in which the weights stay where they are.

NeMo 1.x and NeMo-Aligner   model_config.yaml and model_weights/, as a folder or a .nemo archive
NeMo 2.0                    context/ and weights/, as a folder or an archive

A view is a temporary folder with our model_config.yaml, the tokenizer, links to the weight files and an index of them.
"""

import functools
import tempfile
from pathlib import Path

from nemo_hs2pref import yaml_files
from nemo_hs2pref.checkpoint import layout
from nemo_hs2pref.checkpoint.described import Foreign, refuse_other_config
from nemo_hs2pref.checkpoint.importers import archive, nemo2
from nemo_hs2pref.checkpoint.importers.aligner import own_config
from nemo_hs2pref.checkpoint.importers.tokenizer import provide_tokenizer
from nemo_hs2pref.checkpoint.importers.weights import OURS, FileOffset, view_weights
from nemo_hs2pref.checkpoint.torch_dist.index import refuse_other_formats
from nemo_hs2pref.errors import CheckpointError

WEIGHT_FILE = ".distcp"
views: "list[tempfile.TemporaryDirectory[str]]" = []


def remove_views() -> None:
    """For a process that ends past Python's finalisers, which do the same."""
    while views:
        views.pop().cleanup()


@functools.cache
def view(path: Path) -> Path:
    """The folder or archive at `path` in our layout; made once a process, which takes no more than the small files.

    Raises CheckpointError naming what cannot be read, and why.
    """
    temporary: tempfile.TemporaryDirectory[str] = tempfile.TemporaryDirectory(prefix="hs2pref-")
    views.append(temporary)
    source = unpacked(path, Path(temporary.name) / "unpacked") if path.is_file() else path
    is_nemo2 = nemo2.is_nemo2(source)
    weights = nemo2.WEIGHTS if is_nemo2 else layout.WEIGHTS
    if not is_nemo2 and not (source / layout.CONFIG).is_file():
        raise CheckpointError(f"{path}: {layout.CONFIG} not found; expected NeMo's archive of a model")
    refuse_other_formats(source / weights, path / weights)

    folder = Path(temporary.name) / "view"
    folder.mkdir()
    prefix = nemo2.PREFIX if is_nemo2 else OURS
    shapes = view_weights(source / weights, prefix, places_of(path, weights), folder / layout.WEIGHTS)
    if (source / layout.MANIFEST).is_file():
        (folder / layout.MANIFEST).symlink_to((source / layout.MANIFEST).resolve())
    if not layout.is_foreign(source):  # ours, in an archive
        (folder / layout.CONFIG).symlink_to(source / layout.CONFIG)
        (folder / layout.TOKENIZER).symlink_to(source / layout.TOKENIZER)
        return folder
    config = nemo2.nemo1_config(source) if is_nemo2 else layout.read_yaml(source / layout.CONFIG)
    refuse_other_config(config, path, Foreign)
    (folder / layout.CONFIG).write_text(yaml_files.dumped(own_config(config, shapes, str(path))), encoding="utf-8")
    near = (source, source / nemo2.CONTEXT)
    provide_tokenizer(config.get("tokenizer") or {}, near, folder / layout.TOKENIZER, path)
    return folder


def unpacked(path: Path, folder: Path) -> Path:
    """The archive's files but its weights."""
    members = archive.members(path)
    archive.extract(path, {name: entry for name, entry in members.items() if not name.endswith(WEIGHT_FILE)}, folder)
    return folder


def places_of(path: Path, weights: str) -> dict[str, FileOffset]:
    """Where each weight file is: in the folder, or in the archive."""
    if path.is_dir():
        return {file.name: FileOffset(file.resolve()) for file in (path / weights).glob(f"*{WEIGHT_FILE}")}
    return {
        name.removeprefix(f"{weights}/"): FileOffset(path, entry.offset_data)
        for name, entry in archive.members(path).items()
        if name.startswith(f"{weights}/") and name.endswith(WEIGHT_FILE)
    }
