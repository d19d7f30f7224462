"""The pictures of a report, each in both formats; none where matplotlib is not installed."""

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from nemo_hs2pref.evaluation.calibration import confidence_and_outcome
from nemo_hs2pref.report.document import Picture
from nemo_hs2pref.report.evaluations import Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSING = "No pictures: the package matplotlib is not installed; pip install nemo-hs2pref[nemo]."
DIGITS = 6  # of the hash in a file's name
Rows = Sequence[Mapping[str, Any]]  # of metrics.jsonl


def can_draw() -> bool:
    return find_spec("matplotlib") is not None


def evaluation_pictures(evaluation: Evaluation, place: str) -> list[Picture]:
    """Calibration, margins and length; `place` begins the names of the files: see `joined`."""
    from nemo_hs2pref.plots import evaluation as plots  # heavy: matplotlib, which may be missing

    margins, lengths, rewards = evaluation.margins(), evaluation.lengths(), evaluation.rewards()
    drawn = {
        "reliability": (
            plots.draw_reliability(*confidence_and_outcome(margins)),
            "Is it right as often as its margins claim?",
        ),
        "margins": (plots.draw_margins(margins), "How far apart are the two rewards of a pair?"),
        "accuracy-by-length": (
            plots.draw_accuracy_by_length(lengths, margins),
            "Is it right where the better response is the shorter one?",
        ),
        "reward-by-length": (
            plots.draw_reward_by_length(lengths, rewards),
            "Do longer responses get higher rewards?",
        ),
    }
    return [picture(f"{place}--{kind}", caption, figure) for kind, (figure, caption) in drawn.items()]


def training_picture(runs: Mapping[str, Rows], name: str) -> Picture:
    """The panels of one run; of several, one line a run in those that they share.

    runs: name -> metrics; name: of the file, see `joined`.
    """
    from nemo_hs2pref.plots.training import draw_runs_together, draw_training  # heavy: matplotlib

    if len(runs) == 1:
        caption = "Training: lines are training batches, points are validation."
        return picture(name, caption, draw_training(runs), wide=True)
    caption = "Lines are training batches, points are validation, on pairs where a run has them."
    return picture(name, caption, draw_runs_together(runs), wide=True)


def picture(name: str, caption: str, figure: "Figure", *, wide: bool = False) -> Picture:
    from nemo_hs2pref.plots.vector import svg_and_png  # heavy: matplotlib

    svg, png = svg_and_png(figure, name, caption)
    return Picture(name, caption, svg, png, wide)


def joined(*names: str) -> str:
    """The name of a file and the beginning of an id, another for other names. A slug has no two hyphens in a row."""
    return "--".join(map(slug, names))


def slug(name: str) -> str:
    """Small letters, digits and hyphens; with a piece of the name's hash where that is not the name itself."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain if plain == name else f"{plain}-{sha256(name.encode()).hexdigest()[:DIGITS]}".strip("-")
