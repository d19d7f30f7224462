"""Make NeMo run on this machine: `prepare()` before the first import of NeMo, NeMo-Aligner or Megatron-Core.

Two layers, each inert where it is not needed. In the NGC container both are; a GPU without Apex and
Transformer Engine takes the first alone; a CPU takes both. Nothing else in the package asks where it runs.

    no_apex_te   NeMo takes for granted names and kernels of Apex and Transformer Engine
    no_cuda      NeMo and Megatron-Core call torch.cuda unconditionally
"""

import atexit
import functools
import importlib.util
import logging
import os
import warnings

import torch

from nemo_hs2pref.checkpoint.megatron import reader, writer
from nemo_hs2pref.runtime.platform import no_apex_te, no_cuda


def has_apex_and_te() -> bool:
    """Both are installed (found, not imported)."""
    return all(importlib.util.find_spec(name) is not None for name in ("apex", "transformer_engine"))


def has_cuda() -> bool:
    """A CUDA device can be used."""
    return torch.cuda.is_available()


def device() -> torch.device:
    """Where this process computes."""
    return torch.device("cuda", torch.cuda.current_device()) if has_cuda() else torch.device("cpu")


@functools.cache
def prepare() -> None:
    """Apply what this machine needs, once; importing NeMo afterwards takes 10 to 20 s on two cores."""
    quiet_upstream()
    if not has_cuda():
        no_cuda.before_nemo()
    if not has_apex_and_te():
        no_apex_te.before_nemo()
    writer.adapt_writer()
    reader.adapt_reader()
    if not has_cuda():
        no_cuda.after_nemo()
    if not has_apex_and_te():
        no_apex_te.after_nemo()
    quiet_loggers()
    atexit.register(leave_process_group)


def leave_process_group() -> None:
    """Nobody else does it for a process on its own, and gloo's threads must not outlive the interpreter."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def quiet_upstream() -> None:
    """Silence the import-time warnings and INFO chatter of NeMo's tree; its errors and warnings stay.

    A training log that opens with two hundred lines about optional packages hides the lines that matter.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", module=r"(nemo|nemo_aligner|megatron|lightning|torch|pydub|torchmetrics)(\.|$)")
    warnings.filterwarnings("ignore", message=".*(Apex|Transformer Engine|pkg_resources|apex).*")


def quiet_loggers() -> None:
    """NeMo names each of the hundred Megatron fields that its config schema lacks, on every rank, twice."""
    for name in (
        "megatron",
        "lightning",
        "lightning.pytorch",
        "lightning.fabric",
        "lightning.pytorch.utilities.rank_zero",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
    from nemo.utils import logging as nemo_logging

    nemo_logging.set_verbosity(nemo_logging.WARNING)
    logger: logging.Logger = nemo_logging._logger  # pyright: ignore[reportAssignmentType]
    logger.addFilter(lambda record: "does not have field.name" not in record.getMessage())
