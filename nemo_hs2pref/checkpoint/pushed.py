"""Writers that are handed one tensor after the other, so that one loop can feed several of them."""

from collections.abc import Generator

from torch import Tensor

Writing = Generator[None, Tensor, None]  # receives a tensor at every `yield`, and ends when the files are complete


class Pushed:
    """Call it with each tensor in the writer's order."""

    def __init__(self, writing: Writing) -> None:
        self.writing = writing
        self.is_complete = False
        next(writing)

    def __call__(self, tensor: Tensor) -> None:
        try:
            self.writing.send(tensor)
        except StopIteration:
            self.is_complete = True
