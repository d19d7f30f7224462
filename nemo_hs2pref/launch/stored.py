"""The configuration of the base checkpoint, on a machine that may have neither the checkpoint nor torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nemo_hs2pref.checkpoint.opening import read_config
from nemo_hs2pref.errors import InstallationError


def stored_config(base: Path) -> Mapping[str, Any]:
    """model_config.yaml of the checkpoint; empty where it is not on this machine.

    Raises InstallationError for one of NeMo or Aligner where torch, with which it is read, is not installed.
    """
    if not base.exists():
        return {}
    try:
        return read_config(base)
    except ModuleNotFoundError as error:
        raise InstallationError(
            f"{base}: needs {error.name} to be read, which is not installed here; install it (launchers/setup.sh), or "
            "to plan leave the checkpoint out and choose its model group"
        ) from None
