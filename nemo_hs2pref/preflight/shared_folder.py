"""Do all nodes see the same files: what the run reads is there, and what the first node writes the others find."""

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.files import whole
from nemo_hs2pref.preflight.check import Finding, failed, ok
from nemo_hs2pref.preflight.node import Node
from nemo_hs2pref.preflight.waiting import wait_until

TOKEN = "token"
MOUNT = "is the folder mounted into the container (cluster.mounts), and on a file system that all nodes share?"


def look_at_paths(config: RunConfig) -> Iterator[Finding]:
    """Checkpoint and data can be read on this node."""
    paths = {
        "pretrained_checkpoint.restore_from_path": Path(config.pretrained_checkpoint.restore_from_path),
        "data.dir": Path(config.data.dir),
    }
    for key, path in paths.items():
        if not path.exists():
            yield failed(f"{key}: {path.absolute()} is not there", MOUNT)
        elif not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            yield failed(f"{key}: {path.absolute()} cannot be read", "whose is it? (ls -ld)")
    yield ok(" and ".join(str(path.absolute()) for path in paths.values()))


def look_at_shared_folder(folder: Path, node: Node, wait_s: float) -> Iterator[Finding]:
    """The run folder, or the nearest above it that exists, takes a token that every node reads.

    The first node writes it; the others read it and leave it under their own name, which the first one waits for.
    """
    home = nearest(folder)
    place = home / f".hs2pref-preflight-{node.step}"
    if not os.access(home, os.W_OK | os.X_OK):
        yield failed(f"{home} cannot be written to", "whose is it? (ls -ld) or choose another run folder")
        return
    if not node.is_first:
        yield follow(place, node, wait_s)
        return
    place.mkdir(exist_ok=True)
    try:
        yield lead(place, node, wait_s)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def nearest(folder: Path) -> Path:
    """The folder, or the first one above it that exists."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())


def lead(place: Path, node: Node, wait_s: float) -> Finding:
    token = secrets.token_hex(8)
    write(place / TOKEN, token)
    others = {str(index) for index in range(1, node.count)}

    def answered() -> set[str]:
        return {name for name in os.listdir(place) if name in others and (place / name).read_text() == token}

    if not wait_until(lambda: answered() == others, wait_s):
        silent = ", ".join(sorted(others - answered(), key=int))
        return failed(f"{place.parent}: no sign of the nodes numbered {silent} (the first is 0) in {wait_s:g} s", MOUNT)
    return ok(f"{place.parent} can be written to" + (f", all {node.count} nodes see it" if node.count > 1 else ""))


def follow(place: Path, node: Node, wait_s: float) -> Finding:
    def is_there() -> bool:
        """By listing: NFS remembers for up to a minute that a name was not there."""
        return place.name in os.listdir(place.parent) and TOKEN in os.listdir(place)

    if not wait_until(is_there, wait_s):
        return failed(f"{place.parent}: what the first node wrote there is not seen on {node.name}", MOUNT)
    write(place / str(node.index), (place / TOKEN).read_text())
    return ok(f"{place.parent} is the first node's")


def write(file: Path, text: str) -> None:
    """Whole or not at all."""
    with whole(file) as temporary:
        temporary.write_text(text)
