"""megatron-core's torch_dist checkpoints on torch releases that are newer than it."""

import inspect
from typing import IO, Any


def adapt_writer() -> None:
    """Let megatron-core 0.11 save torch_dist checkpoints with the torch that is installed; harmless to call twice.

    It calls torch's private `_write_item(stream, data, item, key)`. Since torch 2.7 that function takes the stream
    transforms first (compression; none here), and since 2.9 the serialization format last (torch.save here, as
    before). Where torch is as old as megatron-core expects, nothing changes. Removable with a megatron-core that
    passes both.
    """
    import megatron.core.dist_checkpointing.strategies.filesystem_async as writer  # heavy: loads megatron-core
    from torch.distributed.checkpoint import filesystem

    write_item = writer._write_item
    parameters = inspect.signature(write_item).parameters
    if "transforms" not in parameters:
        return
    first = [filesystem._StorageWriterTransforms()]  # pyright: ignore[reportPrivateUsage] as private as what we mend
    last = [filesystem.SerializationFormat.TORCH_SAVE] if "serialization_format" in parameters else []

    def write_item_as_before(stream: IO[bytes], data: Any, item: Any, key: str) -> Any:
        return write_item(*first, stream, data, item, key, *last)

    writer._write_item = write_item_as_before
