"""The files of a checkpoint that the ranks wrote together: on the disk, listed with their hashes, in their place.

And read back together: before a run goes on from them their hashes are compared.
"""

import logging
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch

from nemo_hs2pref.checkpoint.file_list import FILE_LIST, THREADS, Listed, describe, files_in, write_file_list
from nemo_hs2pref.checkpoint.saved_run import listed_files, refuse_damaged
from nemo_hs2pref.checkpoint.verification.files import check_file, look_at_nothing
from nemo_hs2pref.errors import CheckpointError, kind_of
from nemo_hs2pref.files import sync_files

T = TypeVar("T")
logger = logging.getLogger(__name__)


def list_files(folder: Path) -> None:
    """Sync and hash the files, each rank those that it wrote, which its own machine still holds in memory."""
    rank = torch.distributed.get_rank()
    files = [file for file in files_in(folder) if writer_of(file) == rank]
    sync_files(files)
    gathered = of_all_ranks(describe(folder, files))
    if rank == 0:
        write_file_list(folder, {name: listed for files in gathered for name, listed in files.items()})
        sync_files([folder / FILE_LIST])


def refuse_altered(state: Path) -> None:
    """Raise CheckpointError on every rank where a file of a resume state is not as it was saved.

    Each rank reads those that it wrote, if there are as many ranks: it needs most of them again for its tensors, and
    then finds them in its machine's memory.
    """
    started = time.monotonic()
    files = listed_files(state)
    alone = not torch.distributed.is_initialized()
    rank, size = (0, 1) if alone else (torch.distributed.get_rank(), torch.distributed.get_world_size())
    mine = [name for name in files if writer_of(Path(name)) % size == rank]
    with ThreadPoolExecutor(THREADS) as pool:
        problems = list(pool.map(lambda name: problems_of(state / name, name, files[name]), mine))
    found = [problem for of_rank in of_all_ranks(problems) for of_file in of_rank for problem in of_file]
    refuse_damaged(state, sorted(found))
    gigabytes, seconds = sum(of["bytes"] for of in files.values()) / 1e9, time.monotonic() - started
    logger.info("%s is as it was saved: %d files, %.3g GB, compared in %.2g s", state, len(files), gigabytes, seconds)


def problems_of(file: Path, name: str, listed: Listed) -> list[str]:
    try:
        return [f"{name}: {problem}" for problem in check_file(file, listed, look_at_nothing, lambda count: None)]
    except OSError as error:
        raise kind_of(error, CheckpointError)(f"{file}: cannot be read ({error.strerror or error})") from None


def of_all_ranks(own: T) -> list[T]:
    if not torch.distributed.is_initialized():
        return [own]
    gathered = [own] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, own)
    return gathered


def writer_of(file: Path) -> int:
    """The rank that wrote the file: megatron-core's `__3_0.distcp` and our `random_rank3.pt` say it, others are 0's."""
    found = re.fullmatch(r"__(\d+)_\d+\.distcp|random_rank(\d+)\.pt", file.name)
    return int(found[1] or found[2]) if found else 0
