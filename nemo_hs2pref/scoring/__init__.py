"""Rewards of conversations by a model, NeMo's or Hugging Face's, through one loop.

open_scorer     which of the two it is
loop            what every rank does, whatever the model
batches         which rows are computed together, and by which rank
journal         what is scored already, for a second start
progress        the bar, or the lines in a log
nemo            a checkpoint of NeMo's
hugging_face    a folder of transformers'
"""

from pathlib import Path

from nemo_hs2pref.checkpoint.layout import is_hugging_face
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.scoring.hugging_face import HuggingFaceModel
from nemo_hs2pref.scoring.loop import ModelScorer


def open_scorer(
    path: str | Path,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    partial: Path | None = None,
    max_length: int | None = None,
) -> ModelScorer:
    """The model at `path`; its weights are read when the first row is scored. Every rank calls it.

    path: a folder or .nemo file of a reward model that was trained here, or by NeMo-Aligner, or a Hugging Face folder.
    partial: see journal.partial_of; None keeps nothing.
    max_length: tokens of a row; None: as many as in training.
    Raises CheckpointError for what holds no reward model, ConfigError for a layout that it cannot have.
    """
    path = Path(path)
    if not is_hugging_face(path):
        from nemo_hs2pref.scoring.nemo import NemoModel  # needs Hydra, and NeMo once it loads

        return ModelScorer(NemoModel(path, tensor_parallel, pipeline_parallel), partial, max_length)
    refuse_split(path, tensor_parallel, pipeline_parallel)
    return ModelScorer(HuggingFaceModel(path), partial, max_length)


def refuse_split(path: Path, tensor_parallel: int, pipeline_parallel: int) -> None:
    """transformers' models stay whole here."""
    if tensor_parallel * pipeline_parallel > 1:
        raise ConfigError(
            f"{path}: a Hugging Face folder is loaded whole by every process, so --tensor-parallel and "
            "--pipeline-parallel must be 1; to split it, convert it with `hs2pref convert from-hf`"
        )
