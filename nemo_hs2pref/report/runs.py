"""What a folder is: a run that trained, a checkpoint that was made of others, evaluations, or several of these."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from nemo_hs2pref.checkpoint.layout import MANIFEST
from nemo_hs2pref.decode import from_plain
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.report.evaluations import SUMMARY, Evaluation, find_evaluations
from nemo_hs2pref.report.manifests import CHECKPOINTS, made_of, read_checkpoints, training_hashes
from nemo_hs2pref.report.models import change_of, place_of, refuse_other_model, refuse_several_models, some
from nemo_hs2pref.run_metrics import METRICS, read_metrics
from nemo_hs2pref.yaml_files import read_yaml

CONFIG = "config.yaml"


class Place(TypedDict, total=False):
    """`data`."""

    dir: str | None


class RewardModel(TypedDict, total=False):
    """`trainer.rm`."""

    max_steps: int


class Trainer(TypedDict, total=False):
    """`trainer`."""

    rm: RewardModel | None


class Config(TypedDict, total=False):
    """What is read of config.yaml by name."""

    data: Place | None
    trainer: Trainer | None


@dataclass(frozen=True)
class Run:
    """What was found in a folder, or of an evaluation alone in its model's; whatever is not there is empty."""

    folder: Path  # of the run or model
    name: str
    config: Mapping[str, Any]  # as the run resolved it
    metrics: Sequence[Mapping[str, Any]]  # the lines of metrics.jsonl
    checkpoints: Mapping[str, Mapping[str, Any]]  # place below the folder -> manifest
    evaluations: Sequence[Evaluation]

    @property
    def made_of(self) -> str:
        """How a model that was not trained came to be, in words; empty where nothing tells."""
        return next(filter(None, map(made_of, self.checkpoints.values())), "")

    def title_of(self, evaluation: Evaluation) -> str:
        """The evaluation's title; with its name where another of the run has the same."""
        alike = [each for each in self.evaluations if each.title == evaluation.title]
        return evaluation.title if len(alike) == 1 else f"{evaluation.title}, {evaluation.name}"

    def was_trained_on(self, evaluation: Evaluation) -> bool:
        """The evaluated file is training data of a checkpoint of the run, or of a model that it came from."""
        digest = (evaluation.summary.get("input") or {}).get("sha256")
        return any(digest in training_hashes(manifest) for manifest in self.checkpoints.values())

    def change_since(self, evaluation: Evaluation) -> str:
        """How the model differs from what was evaluated, in words; empty where it does not, or nothing tells."""
        return change_of(evaluation, self.folder, self.checkpoints)


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """A run for each folder; their names are as long as it takes to tell them apart.

    Raises DataError for a folder that is no run, or is named twice, and for a file in it that cannot be read.
    """
    places = [folder.resolve() for folder in folders]
    if twice := {str(place) for place in places if places.count(place) > 1}:
        raise DataError(f"{', '.join(sorted(twice))}: named twice; name each run once")
    return [read_run(folder, name) for folder, name in zip(places, distinct_names(places), strict=True)]


def read_run(folder: Path, name: str) -> Run:
    """What lies in the folder; DataError where that is nothing of a run, or evaluations of other models."""
    if not folder.is_dir():
        raise DataError(f"{folder}: {'is a file' if folder.exists() else 'not found'}; expected a run's folder")
    evaluations = find_evaluations(folder)
    refuse_several_models(folder, evaluations)
    origin = folder if not is_evaluation(folder, evaluations) else origin_of(evaluations) or folder
    run = Run(
        folder=origin,
        name=name,
        config=read_config(origin / CONFIG),
        metrics=read_metrics(origin / METRICS),
        checkpoints=read_checkpoints(origin),
        evaluations=evaluations,
    )
    if not (run.config or run.metrics or run.checkpoints or run.evaluations):
        raise DataError(
            f"{folder}: no run; expected {CONFIG}, {METRICS}, a checkpoint or an evaluation's {SUMMARY} in it"
            + hint(runs_below(folder))
        )
    refuse_other_model(run.folder, run.checkpoints, evaluations)
    return run


def is_evaluation(folder: Path, evaluations: Sequence[Evaluation]) -> bool:
    """Nothing but evaluations are in the folder: the run is elsewhere."""
    found = (path for pattern in (CONFIG, METRICS, *CHECKPOINTS) for path in folder.glob(pattern))
    return bool(evaluations) and not any(found)


def origin_of(evaluations: Sequence[Evaluation]) -> Path | None:
    """The folder of the run whose checkpoint they all scored with, or of a checkpoint without one.

    None where that is unknown, no longer there, or no checkpoint of ours: what else lies there is not of the model.
    """
    (model, *others) = {place_of(evaluation) for evaluation in evaluations}
    if others or model is None or not (model / MANIFEST).is_file():
        return None
    return model.parent.parent if model.parent.name == "checkpoints" else model


def read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    config = read_yaml(path, DataError)
    from_plain(Config, config, path, DataError)
    return config


def runs_below(folder: Path) -> list[str]:
    return sorted({str(path.parent) for path in folder.rglob(CONFIG) if (path.parent / METRICS).exists()})


def hint(runs: Sequence[str]) -> str:
    return f"; there are runs below it, name those: {some(runs)}" if runs else ""


def distinct_names(places: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that differ: `stage2`, or `seed_1/stage2` and `seed_2/stage2`."""
    parts = [place.parts for place in places]
    for length in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(place) for place in places]


def common_folder(folders: Iterable[Path]) -> Path:
    """The deepest folder that holds them all."""
    return Path(os.path.commonpath([folder.resolve().parent for folder in folders]))
