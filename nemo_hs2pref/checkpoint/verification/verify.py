"""Is a checkpoint whole? Its files are compared with what was listed of them when it was saved, its tensors with its
index and its configuration, and every number is looked at. Hugging Face folders too. Nothing stored is run.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from tqdm import tqdm

from nemo_hs2pref.checkpoint import opening
from nemo_hs2pref.checkpoint.file_list import FILE_LIST, THREADS, Files, files_in, read_file_list
from nemo_hs2pref.checkpoint.hugging_face.folder.config import refuse_no_model
from nemo_hs2pref.checkpoint.layout import is_hugging_face
from nemo_hs2pref.checkpoint.safetensors.folder import weight_files
from nemo_hs2pref.checkpoint.verification import hugging_face, nemo
from nemo_hs2pref.checkpoint.verification.files import Look, check_file, look_at_nothing
from nemo_hs2pref.checkpoint.verification.report import Report


def verify(path: Path) -> Report:
    """Read the checkpoint, its `.nemo` archive or the Hugging Face folder at `path` from front to back.

    Of an archive the tensors are looked at where they lie. Raises CheckpointError where there is none of these.
    """
    report = Report(str(path))
    if path.is_file():
        path = opening.opened(path)
        report.notes.append("of an archive the tensors alone are looked at; unpack it to have every file compared")
    is_hf, listed = is_hugging_face(path), read_file_list(path)
    if listed is None:
        refuse_nothing(path, is_hf=is_hf)
        report.notes.append(f"no {FILE_LIST}, so no sizes and hashes to compare; whoever wrote this left none")
    kind = hugging_face if is_hf else nemo
    check_files(path, listed or {}, kind.looks(path, report), report)
    if not report.problems:  # the configuration can be read
        try:
            report.notes += kind.compare_with_config(path)
        except Exception as error:  # broken text: yaml, json and transformers each raise their own
            report.problems.append(str(error))
    return report


def refuse_nothing(path: Path, *, is_hf: bool) -> None:
    """Where there is nothing to verify."""
    if is_hf:
        refuse_no_model(path)
        weight_files(path)
    else:
        opening.read_any_config(path)


def check_files(folder: Path, listed: Files, looks: Mapping[str, Look], report: Report) -> None:
    """All files that were listed or hold weights, several at once."""
    names = sorted(listed.keys() | looks.keys())
    found = {file.relative_to(folder).as_posix(): file.stat().st_size for file in files_in(folder)}
    if listed and (new := sorted(found.keys() - listed.keys())):
        report.notes.append(f"{len(new)} files came after the save, {new[0]} first")
    lock = Lock()
    bar: tqdm[Any]
    report.files, report.bytes = len(names), sum(found.get(name, 0) for name in names)
    with tqdm(total=report.bytes, unit="B", unit_scale=True, disable=None) as bar:

        def advance(count: int) -> None:
            with lock:
                bar.update(count)

        def check(name: str) -> list[str]:
            return check_file(folder / name, listed.get(name), looks.get(name, look_at_nothing), advance)

        with ThreadPoolExecutor(THREADS) as pool:
            for name, problems in zip(names, pool.map(check, names), strict=True):
                report.problems += [f"{name}: {problem}" for problem in problems]
