"""Python and the packages that training stands on, against those that it was tested with."""

import importlib
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version

from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.preflight.check import Finding, failed, ok, warning
from nemo_hs2pref.preflight.gpus import has_driver

IMAGE = "nvcr.io/nvidia/nemo:25.02.01"
# How versions begin that are known to work: those of constraints.txt, which all tests ran with, and where they differ
# those of IMAGE: Python 3.12 and torch 2.6, by its base image pytorch:25.01. Nothing was run in the image itself.
TESTED: Mapping[str, tuple[str, ...]] = {
    "python": ("3.11", "3.12"),
    "torch": ("2.13", "2.6"),
    "nemo-toolkit": ("2.2",),
    "megatron-core": ("0.11",),
    "nemo-aligner": ("0.7",),
    "transformers": ("4.48", "4.49"),
}
FOR_GPUS = ("transformer-engine", "apex")  # built for the image; which versions is not known here


def look_at_versions(config: RunConfig | None) -> Iterator[Finding]:
    """Read from the packages' metadata; nothing is imported."""
    found = {name: installed(name) for name in (*TESTED, *FOR_GPUS)}
    for name, begins in TESTED.items():
        given = found[name]
        if given is None:
            yield failed(f"{name} is not installed", f"use the image {IMAGE}, or launchers/setup.sh")
        elif not any(is_version(given, begin) for begin in begins):
            hint = f"use the image {IMAGE}, or run the tests with these versions first: make test"
            yield warning(f"{name} {given}, tested was {' and '.join(begins)}", hint)
    absent = [name for name in FOR_GPUS if found[name] is None]
    if absent and is_for_gpus(config):
        hint = f"slower: torch's own kernels take their place; use the image {IMAGE}"
        yield warning(f"{' and '.join(absent)} not installed", hint)
    yield ok(", ".join(f"{name} {given or 'none'}" for name, given in found.items()))


def is_for_gpus(config: RunConfig | None) -> bool:
    return config.trainer.precision == "bf16" if config else has_driver()


def installed(name: str) -> str | None:
    if name == "python":
        return platform.python_version()
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def is_version(given: str, begin: str) -> bool:
    """`0.11.0rc1` is a `0.11`, `0.110` is not."""
    return given.startswith(begin) and not given[len(begin) :][:1].isdigit()


def look_at_imports() -> Iterator[Finding]:
    """NeMo, Megatron-Core and NeMo-Aligner load as the trainer loads them."""
    try:
        from nemo_hs2pref.runtime.platform import machine  # heavy: all of NeMo

        machine.prepare()
        importlib.import_module("nemo_hs2pref.runtime.run.build")
    except Exception as error:
        said = str(error).strip().splitlines() or [""]
        hint = "the installation is broken: a fresh container, or launchers/setup.sh"
        yield failed(f"the trainer cannot be loaded: {type(error).__name__}: {said[0]}", hint)
        return
    yield ok("the trainer loads")
