"""A file as a stream of UTF-8, unpacked and recoded on the way."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

from nemo_hs2pref.data.reading.file_kinds import GZIP, HEAD, encoding_of, refuse_other_kinds
from nemo_hs2pref.errors import DataError, kind_of

BUFFER = 1 << 16


class Opened:
    """The stream, its first bytes, and how far the file itself has been read."""

    def __init__(self, raw: io.BufferedReader, stream: io.BufferedReader) -> None:
        self._raw, self.stream = raw, stream
        self.head = stream.peek(HEAD)[:HEAD]
        self.row = 0  # the last one that was read, for messages

    def position(self) -> int:
        """Bytes of the file that were read, packed ones of a gzip file."""
        return self._raw.tell()


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Open a file of JSON.

    Raises DataError where it cannot be read, breaks off while it is, or is of another kind; MachineError where the disk
    fails.
    """
    reached: Opened | None = None
    try:
        with ExitStack() as stack:
            raw = stack.enter_context(open(path, "rb"))
            reached = Opened(raw, raw)
            if reached.head.startswith(GZIP):
                unpacked = cast(io.RawIOBase, stack.enter_context(gzip.GzipFile(fileobj=raw)))
                reached = Opened(raw, io.BufferedReader(unpacked, BUFFER))
            elif path.suffix == ".gz" and not reached.head:
                raise EOFError("it has no bytes")
            encoding = encoding_of(reached.head)
            if encoding is not None:
                reached = Opened(raw, io.BufferedReader(Recoded(reached.stream, encoding), BUFFER))
            if reached.head.startswith(codecs.BOM_UTF8):
                reached.stream.read(len(codecs.BOM_UTF8))
                reached.head = reached.head[len(codecs.BOM_UTF8) :]
            refuse_other_kinds(path, reached.head)
            yield reached
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        row = reached.row if reached else 0
        raise DataError(f"{path}: broken gzip file after line {row} ({error}); copy or download it again") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not whole in {error.encoding}, as which it begins; write it as UTF-8") from None
    except OSError as error:
        raise kind_of(error, DataError)(f"{path}: cannot be read ({error.strerror or error})") from None


class Recoded(io.RawIOBase):
    """A text of another encoding as UTF-8, a piece at a time: neither memory nor disk grows with it."""

    def __init__(self, stream: io.BufferedReader, encoding: str) -> None:
        self._stream, self._decoder, self._rest = stream, codecs.getincrementaldecoder(encoding)(), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = self._stream.read(BUFFER)
            self._rest = self._decoder.decode(piece, final=not piece).encode("utf-8", "surrogatepass")
            if not piece:
                break
        given, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(given)] = given
        return len(given)
