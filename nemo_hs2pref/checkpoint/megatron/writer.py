"""megatron-core's own writer of torch_dist checkpoints, on newer torch and in runs that may be killed at any moment."""

import functools
import inspect
import logging
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.managers import SyncManager
from typing import IO, Any

from nemo_hs2pref import parent
from nemo_hs2pref.checkpoint.torch_dist.refusals import refusal_in

WRITER = "megatron.core.dist_checkpointing.strategies.filesystem_async"


def adapt_writer() -> None:
    """Let megatron-core 0.11 save torch_dist checkpoints as we need it; harmless to call twice."""
    import megatron.core.dist_checkpointing.strategies.filesystem_async as writer  # heavy: loads megatron-core

    if writer._write_item.__module__ == __name__:
        return
    writer._write_item = for_newer_torch(writer._write_item)
    leave_no_process(writer)
    logging.getLogger(WRITER).setLevel(logging.CRITICAL)  # the rank raises what it would log


def for_newer_torch(write_item: Any) -> Any:
    """It calls torch's private `_write_item(stream, data, item, key)`. Since torch 2.7 that function takes the stream
    transforms first (compression; none here), and since 2.9 the serialization format last (torch.save here, as
    before). Removable with a megatron-core that passes both.

    The errors of its writers, which are processes, lose their cause on the way to the rank: so the cause is raised
    in the first place.
    """
    from torch.distributed.checkpoint import filesystem

    parameters = inspect.signature(write_item).parameters
    first = [filesystem._StorageWriterTransforms()] if "transforms" in parameters else []  # pyright: ignore[reportPrivateUsage] as private as what we mend
    last = [filesystem.SerializationFormat.TORCH_SAVE] if "serialization_format" in parameters else []

    def write_item_as_before(stream: IO[bytes], data: Any, item: Any, key: str) -> Any:
        try:
            return write_item(*first, stream, data, item, key, *last)
        except RuntimeError as error:
            raise refusal_in(error) or error from None

    return write_item_as_before


def leave_no_process(writer: Any) -> None:
    """Whatever a save has started ends with its rank, which may be killed at any moment.

    A save forks a process, which forks writers, and a manager is spawned, which keeps what they report. None of them
    sees the rank's end: the manager would stay for ever, with 280 MB, and whoever was forked and waits, for the disk or
    for a queue of a process that is gone, would go on to hold the lock of the run folder, which it inherited.
    """
    writers = writer.FileSystemWriterAsync
    for name in ("write_preloaded_data_multiproc", "write_preloaded_data"):
        setattr(writers, name, staticmethod(while_its_parent_lives(getattr(writers, name))))
    writer._get_write_results_queue = results_queue


def while_its_parent_lives(target: Callable[..., None]) -> Callable[..., None]:
    """`target` of a process that multiprocessing forks."""

    def run(*args: Any) -> None:
        forked_by = multiprocessing.parent_process()
        assert forked_by is not None and forked_by.pid is not None
        parent.end_with(forked_by.pid)
        target(*args)

    return run


@functools.cache
def results_queue() -> Any:
    """As megatron-core has it, one for all saves of a process; only its manager ends with this process."""
    manager = SyncManager(ctx=multiprocessing.get_context("spawn"))
    manager.start(parent.end_with, (os.getpid(),))
    return manager.Queue()
