"""What a file is by its first bytes, whatever its name says.

Read are JSON lines and one JSON array, in UTF-8 or UTF-16, plain or gzipped, and Parquet. Everything else that people
put in their place is named, with what to do.
"""

import codecs
import re
from pathlib import Path

from nemo_hs2pref.errors import DataError

HEAD = 4096  # bytes that are looked at
GZIP, PARQUET = b"\x1f\x8b", b"PAR1"

_WITH_DATASETS = "write it as JSON lines or Parquet, with `to_json` or `to_parquet` of `datasets`"
# First bytes -> what such a file is, and what to do with it.
SIGNATURES: dict[bytes, tuple[str, str]] = {
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "unpack it with `zstd -d`"),
    b"\xfd7zXZ\x00": ("compressed with xz", "unpack it with `xz -d`"),
    b"BZh": ("compressed with bzip2", "unpack it with `bzip2 -d`"),
    b"PK\x03\x04": ("a zip archive", "unpack it, and name the file of rows in it"),
    b"ARROW1": ("an Arrow file", _WITH_DATASETS),
    b"\xff\xff\xff\xff": ("an Arrow stream", _WITH_DATASETS),
    b"version https://git-lfs": ("a Git LFS pointer in place of the file", "fetch the file itself with `git lfs pull`"),
    b"<": ("a web page or XML", "download the file itself (the page may say why it was not sent)"),
    b"\x80\x04": ("a Python pickle", "write JSON lines"),
    b"\x80\x05": ("a Python pickle", "write JSON lines"),
    b"\x89HDF": ("an HDF5 file", "write JSON lines"),
}
TAR_MARK, TAR_AT = b"ustar", 257
# Byte order marks, the longest first, and what a text in UTF-16 without one begins with.
ENCODINGS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    b"{\0": "utf-16-le",
    b"[\0": "utf-16-le",
    b"\0{": "utf-16-be",
    b"\0[": "utf-16-be",
}
# {"id": ..., as it is printed for people, or {"data": [ with the rows below it.
OVER_LINES = re.compile(rb'\s*\{([ \t\r]*\n\s*"|\s*"[^"\n]*"\s*:\s*[\[{][ \t\r]*\n)')
# A line of names with commas, semicolons or tabs between them.
CSV_HEADER = re.compile(rb'"?[A-Za-z_][\w .-]*"?([,;\t]"?[A-Za-z_][\w .-]*"?)+\r?')


def encoding_of(head: bytes) -> str | None:
    """The encoding of a text that is not UTF-8."""
    return next((name for mark, name in ENCODINGS.items() if head.startswith(mark)), None)


def refuse_other_kinds(path: Path, head: bytes) -> None:
    """DataError where these first bytes, unpacked, are not those of a file that is read."""
    for signature, (kind, advice) in SIGNATURES.items():
        if head.lstrip(b" \t\r\n").startswith(signature):
            raise DataError(f"{path}: is {kind}, not JSON lines; {advice}")
    if head[TAR_AT:].startswith(TAR_MARK):
        raise DataError(f"{path}: is a tar archive, not JSON lines; unpack it, and name the file of rows in it")
    if head and not head.strip(b"\0"):
        raise DataError(f"{path}: begins with NUL bytes, and only its length may have been written; download it again")
    first = head.lstrip().partition(b"\n")[0]
    if CSV_HEADER.fullmatch(first):
        raise DataError(
            f"{path}: looks like CSV, with the columns {first[:60].decode(errors='replace').strip()}, not JSON lines; "
            "convert it, for instance with pandas: read_csv, to_json(orient='records', lines=True, force_ascii=False)"
        )
    if OVER_LINES.match(head):
        raise DataError(
            f"{path}: is a JSON object over several lines, not JSON lines; write one object a line, with "
            "`jq -c .`, or where one of its keys holds the rows with `jq -c '.KEY[]'`"
        )
    if b"\r" in first.rstrip(b"\r\n") and re.search(rb"\}\r\s*\{", first):
        raise DataError(f"{path}: has line ends of a lone CR, not JSON lines; convert them with `tr '\\r' '\\n'`")


def is_array(head: bytes) -> bool:
    """Whether a text begins as one JSON array of objects."""
    return re.match(rb"\s*\[\s*(\{|\]|$)", head) is not None
