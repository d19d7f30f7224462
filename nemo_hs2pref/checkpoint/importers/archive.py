"""A .nemo file, which is a tar, without unpacking it: its names, its small files, and where its large ones lie."""

import errno
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from nemo_hs2pref.errors import CheckpointError, kind_of

MOST_BYTES, MOST_FILES = 2**28, 1_000  # of what is unpacked; a tokenizer has 20 MB
Members = Mapping[str, tarfile.TarInfo]  # path inside the archive -> its entry


def members(archive: Path) -> Members:
    """The files of a plain tar, as NeMo 1.x and 2.x write it: each file's bytes lie in one piece at a known place.

    Raises CheckpointError for another file, and for a member that unpacking could write outside of its folder.
    """
    try:
        with tarfile.open(archive, "r:", errors="strict") as tar:
            found = tar.getmembers()
    except (tarfile.TarError, EOFError, ValueError, OverflowError, MemoryError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # that is a place which no file has
            raise kind_of(error, CheckpointError)(f"{archive}: cannot be read ({error.strerror or error})") from None
        raise CheckpointError(
            f"{archive}: not a plain .nemo archive ({error or type(error).__name__}); unpack a compressed one into a "
            f"new folder: tar -C FOLDER -xf {archive}"
        ) from None
    size = archive.stat().st_size
    for member in found:
        refuse_outside(archive, member)
        if not 0 <= member.size <= size - member.offset_data:
            raise CheckpointError(
                f"{archive}: member {member.name!r} claims {member.size:,} bytes, more than the archive has; copy it "
                "again"
            )
    return {str(PurePosixPath(member.name)): member for member in found if member.isfile()}


def refuse_outside(archive: Path, member: tarfile.TarInfo) -> None:
    """Links count as outside wherever they point, since what is written through one lands there."""
    path = PurePosixPath(member.name)
    plain = member.isdir() or (member.isfile() and not member.issparse())
    if path.is_absolute() or ".." in path.parts or not plain:
        raise CheckpointError(
            f"{archive}: member {member.name!r} is not a plain file inside the archive's folder; do not unpack this "
            "archive, get it again from where it was made"
        )


def extract(archive: Path, wanted: Members, folder: Path) -> None:
    """Write the files `wanted` of the archive, all but its weights, under `folder`."""
    if (total := sum(member.size for member in wanted.values())) > MOST_BYTES or len(wanted) > MOST_FILES:
        raise CheckpointError(
            f"{archive}: {len(wanted):,} files of {total:,} bytes beside the weights, expected a configuration and a "
            "tokenizer; do not unpack this archive, get it again from where it was made"
        )
    with tarfile.open(archive, "r:") as tar:
        for name, member in wanted.items():
            stream = tar.extractfile(member)
            assert stream is not None, name
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(stream.read())
