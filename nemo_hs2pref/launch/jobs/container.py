"""What a job's container is made from and what it sees; `hs2pref submit` asks before the job waits for its turn."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from nemo_hs2pref.errors import ConfigError

# pyxis takes what stands before "/" for a folder of docker.io (NVIDIA/pyxis#39); apptainer wants to know the transport.
REGISTRY = {"enroot_pyxis": "#", "apptainer": "://"}
EXAMPLES = {
    "enroot_pyxis": "/shared/images/nemo-25.02.01.sqsh or nvcr.io#nvidia/nemo:25.02.01",
    "apptainer": "/shared/images/nemo-25.02.01.sif or docker://nvcr.io/nvidia/nemo:25.02.01",
}
CONTAINERS = ("none", *REGISTRY)
MOUNT = re.compile(r"(?P<host>/[^:,]*)(?::(?P<inside>/[^:,]*)(?::[^:,]+)?)?")


def refuse_container(container: str, image: str | None, mounts: Sequence[str]) -> None:
    """Raise ConfigError for an image or a mount that this container cannot read."""
    if container not in CONTAINERS:
        raise ConfigError(f"cluster.container={container}: expected one of {', '.join(CONTAINERS)}")
    for mount in mounts:
        if not MOUNT.fullmatch(mount):
            raise ConfigError(f"cluster.mounts: {mount!r} is no mount; expected /HOST or /HOST:/CONTAINER")
    if container != "none" and not is_file(image) and REGISTRY[container] not in (image or ""):
        raise ConfigError(f"cluster.image={image}: {container} cannot read it; expected {EXAMPLES[container]}")


def is_file(image: str | None) -> bool:
    return (image or "").startswith("/")


def absent(container: str, image: str | None, mounts: Sequence[str]) -> list[str]:
    """One sentence for each file or folder of the container that is not on this machine."""
    if container == "none":
        return []
    sources = {"cluster.image": [Path(image)] if image and is_file(image) else [], "cluster.mounts": hosts(mounts)}
    return [f"{key}: {path} is not there" for key, paths in sources.items() for path in paths if not path.exists()]


def hosts(mounts: Sequence[str]) -> list[Path]:
    return [Path(mount.split(":")[0]) for mount in mounts]


def unseen(paths: Mapping[str, Path], mounts: Sequence[str]) -> list[str]:
    """One sentence for each of `paths` (key -> path) that a container with `mounts` has not, or not where it is here.

    A link is followed: it leads nowhere where its target is not mounted.
    """
    inside = [Path(mount.split(":")[1 if ":" in mount else 0]) for mount in mounts]
    return [
        f"{key}: the container does not see {path.absolute()}; add its folder to cluster.mounts"
        for key, path in paths.items()
        if not (
            is_under(path.absolute(), inside) and is_under(path.resolve(), [host.resolve() for host in hosts(mounts)])
        )
    ]


def is_under(path: Path, folders: Sequence[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)
