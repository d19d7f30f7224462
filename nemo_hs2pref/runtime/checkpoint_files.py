"""The files of a checkpoint that the ranks wrote together: on the disk, listed with their hashes, in their place."""

import re
import shutil
from pathlib import Path

import torch

from nemo_hs2pref.checkpoint.durable import sync_files, sync_folders
from nemo_hs2pref.checkpoint.file_list import FILE_LIST, Files, describe, files_in, write_file_list


def list_files(folder: Path) -> None:
    """Sync and hash the files, each rank those that it wrote, which its own machine still holds in memory."""
    rank = torch.distributed.get_rank()
    files = [file for file in files_in(folder) if writer_of(file) == rank]
    sync_files(files)
    own = describe(folder, files)
    gathered: list[Files] = [own] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, own)
    if rank == 0:
        write_file_list(folder, {name: listed for files in gathered for name, listed in files.items()})
        sync_files([folder / FILE_LIST])


def writer_of(file: Path) -> int:
    """The rank that wrote the file: megatron-core's `__3_0.distcp` and our `random_rank3.pt` say it, others are 0's."""
    found = re.fullmatch(r"__(\d+)_\d+\.distcp|random_rank(\d+)\.pt", file.name)
    return int(found[1] or found[2]) if found else 0


def replace(new: Path, old: Path) -> None:
    """Give `new` the name of `old`; at every moment one of them is whole, also on the disk."""
    sync_folders(new)
    aside = old.with_name(old.name + ".old")
    if old.exists():
        shutil.rmtree(aside, ignore_errors=True)
        old.rename(aside)
    new.rename(old)
    sync_folders(old.parent, deep=False)
    shutil.rmtree(aside, ignore_errors=True)
