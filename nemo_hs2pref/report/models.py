"""Of which model an evaluation is: the same as the others', the run's own, and still as it was then."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from nemo_hs2pref.checkpoint.identity import Identity, are_same, identity_of
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.report.evaluations import Evaluation

SHOWN = 8  # places in a message


def place_of(evaluation: Evaluation) -> Path | None:
    """Where the model was that was scored with; None where the summary names none."""
    model = evaluation.summary.get("model")
    return Path(model).resolve() if model else None


def scored_with(evaluation: Evaluation) -> Identity | None:
    """The model as it was then; None where scores came from a file, or the summary is older than the record."""
    return evaluation.summary.get("checkpoint")


def refuse_several_models(folder: Path, evaluations: Sequence[Evaluation]) -> None:
    """One page is of one model. Scores from a file name none: on the same input, two files are of two models."""
    models: set[Any] = set()
    scores: dict[tuple[str, ...], set[str]] = {}
    for evaluation in evaluations:
        identity = scored_with(evaluation)
        models.add(identity["weights"] if identity else place_of(evaluation))
        if evaluation.summary.get("scores"):
            scores.setdefault(evaluation.rows, set()).add(str(evaluation.summary["scores"]))
    if len(models - {None}) > 1 or any(len(files) > 1 for files in scores.values()):
        places = [str(evaluation.folder) for evaluation in evaluations]
        raise DataError(f"{folder}: its evaluations are of different models; name them instead: {some(places)}")


def refuse_other_model(folder: Path, checkpoints: Collection[str], evaluations: Sequence[Evaluation]) -> None:
    """A run's page is of the run's model: of a checkpoint in its folder, or of one that was copied or exported.

    checkpoints: their places below the folder; with none there is nothing to be told apart from.
    """
    for evaluation in evaluations:
        place = place_of(evaluation)
        if place is None or place.is_relative_to(folder) or not checkpoints:
            continue
        if not is_among(evaluation, folder, checkpoints):
            raise DataError(
                f"{evaluation.folder}: an evaluation of {place}, which is no checkpoint of {folder} as it is now; "
                "evaluate again, or put the evaluation elsewhere"
            )


def is_among(evaluation: Evaluation, folder: Path, checkpoints: Collection[str]) -> bool:
    """The model that was scored with is one of the folder's checkpoints as they are now, wherever it lay then."""
    identity = scored_with(evaluation)
    return identity is not None and any(are_same(identity, identity_of(folder / place)) for place in checkpoints)


def change_of(evaluation: Evaluation, folder: Path, checkpoints: Collection[str]) -> str:
    """How the model differs from what was scored with, in words; empty where it does not, or nothing tells."""
    place, then = place_of(evaluation), scored_with(evaluation)
    if place is None or then is None or not place.exists():
        return ""
    if not place.is_relative_to(folder) and is_among(evaluation, folder, checkpoints):
        return ""  # a copy, and the original may have gone on
    now = identity_of(place)
    if are_same(now, then):
        return ""
    if None in (now["step"], then["step"]) or now["step"] == then["step"]:
        return "the model was changed after it was evaluated: evaluate again"
    return f"evaluated at step {then['step']:,}, the checkpoint is now of step {now['step']:,}: evaluate again"


def some(places: Sequence[str]) -> str:
    return " ".join(places[:SHOWN]) + (" ..." if len(places) > SHOWN else "")
