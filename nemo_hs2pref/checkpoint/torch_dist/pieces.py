"""The tensors of a torch_dist folder as the pieces that are written one by one: whole ones, or a layer's share."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod

import torch
from torch import Tensor

LAYER = "model.decoder.layers."  # one name for all layers: the layer is an axis of the tensor in the checkpoint


@dataclass(frozen=True)
class Piece:
    """A box of one tensor of the checkpoint.

    size: of the whole tensor; offset, shape: of the box, as many numbers each.
    read: its values in any shape and dtype; called once, when the piece is written.
    """

    key: str
    dtype: torch.dtype
    size: tuple[int, ...]
    offset: tuple[int, ...]
    shape: tuple[int, ...]
    read: Callable[[], Tensor]

    @property
    def bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


def whole(key: str, dtype: torch.dtype, shape: tuple[int, ...], read: Callable[[], Tensor]) -> Piece:
    """A tensor in one piece."""
    return Piece(key, dtype, shape, (0,) * len(shape), shape, read)


def of_layer(
    key: str,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    read: Callable[[], Tensor],
    *,
    layer: int,
    num_layers: int,
    part: tuple[int, int] = (0, 1),
) -> Piece:
    """A layer's share of a tensor that has the layers as its first axis; `part` i of n equal parts of its rows."""
    i, n = part
    rest = shape[1:]
    offset = (layer, i * shape[0], *(0 for _ in rest))
    return Piece(key, dtype, (num_layers, n * shape[0], *rest), offset, (1, *shape), read)


def pieces_of(
    entries: Mapping[str, tuple[tuple[int, ...], torch.dtype]], read: Callable[[str, int | None], Tensor]
) -> Iterator[Piece]:
    """Pieces of whole tensors, a layer each where the first axis is the layer, so that one can be read alone.

    entries: name -> (global shape, dtype). read(name, layer): without the layers' axis; layer None: all of it.
    """
    for name, layer in parts_of({name: shape for name, (shape, _) in entries.items()}):
        shape, dtype = entries[name]
        if layer is None:
            yield whole(name, dtype, shape, partial(read, name, None))
        else:
            yield of_layer(name, dtype, shape[1:], partial(read, name, layer), layer=layer, num_layers=shape[0])


def parts_of(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, int | None]]:
    """(name, layer), layer None where the first axis is not the layers'."""
    for name, shape in shapes.items():
        yield from ((name, layer) for layer in range(shape[0])) if name.startswith(LAYER) else ((name, None),)
