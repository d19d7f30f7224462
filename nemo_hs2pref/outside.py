"""Text that comes from files, as a terminal or a page can hold it: it moves no cursor and forges no line.

A row's id, a key, a checkpoint's name or a tokenizer's message may hold escape sequences, which clear the screen or
name another window, and Unicode's bidirectional controls, with which `exe.txt` reads like `txt.exe`.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

from nemo_hs2pref.masking import masked

# Control characters but tab and line end; bidirectional controls; line ends of Unicode's own; halves of characters and
# numbers that are none; the invisible alphabet of tags.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
    "|[\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """Each character that cannot be seen but acts spelled out, as \\x1b; a mark for each secret; lines stay."""
    return masked(UNSEEN.sub(spelled, text.replace("\r\n", "\n")))


def spelled(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def one_line(text: object) -> str:
    """The same on one line, which cannot be taken for two."""
    return " ".join(visible(str(text)).split("\n"))


def show(lines: Iterable[object]) -> None:
    """Print each as one line, whatever stands in it; all or none."""
    text = "".join(f"{one_line(line)}\n" for line in lines)
    print(text, end="")


class Visible:
    """A stream that passes text on as `visible` makes it; the return with which a progress bar begins stays."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        start = "\r" if text.startswith("\r") else ""
        self._stream.write(start + visible(text.removeprefix(start)))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def visible_output() -> Iterator[None]:
    """All that Python prints meanwhile is `visible`: messages, logs, warnings, tracebacks, whoever writes them."""
    with ExitStack() as stack:
        if not isinstance(sys.stdout, Visible):
            stack.enter_context(redirect_stdout(Visible(sys.stdout)))  # pyright: ignore[reportArgumentType] it is a stream in all that is asked of it
            stack.enter_context(redirect_stderr(Visible(sys.stderr)))  # pyright: ignore[reportArgumentType] the same
        yield
