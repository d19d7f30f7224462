"""megatron-core's own writer of torch_dist checkpoints, on torch releases that are newer than it."""

import inspect
import logging
from typing import IO, Any

from nemo_hs2pref.checkpoint.torch_dist.refusals import refusal_in

WRITER = "megatron.core.dist_checkpointing.strategies.filesystem_async"


def adapt_writer() -> None:
    """Let megatron-core 0.11 save torch_dist checkpoints with the torch that is installed; harmless to call twice.

    It calls torch's private `_write_item(stream, data, item, key)`. Since torch 2.7 that function takes the stream
    transforms first (compression; none here), and since 2.9 the serialization format last (torch.save here, as
    before). Removable with a megatron-core that passes both.

    The errors of its writers, which are processes, lose their cause on the way to the rank: so the cause is raised
    in the first place. The rank raises it again, so it is not logged as well.
    """
    import megatron.core.dist_checkpointing.strategies.filesystem_async as writer  # heavy: loads megatron-core
    from torch.distributed.checkpoint import filesystem

    write_item = writer._write_item
    if write_item.__module__ == __name__:
        return
    parameters = inspect.signature(write_item).parameters
    first = [filesystem._StorageWriterTransforms()] if "transforms" in parameters else []  # pyright: ignore[reportPrivateUsage] as private as what we mend
    last = [filesystem.SerializationFormat.TORCH_SAVE] if "serialization_format" in parameters else []

    def write_item_as_before(stream: IO[bytes], data: Any, item: Any, key: str) -> Any:
        try:
            return write_item(*first, stream, data, item, key, *last)
        except RuntimeError as error:
            raise refusal_in(error) or error from None

    writer._write_item = write_item_as_before
    logging.getLogger(WRITER).setLevel(logging.CRITICAL)
