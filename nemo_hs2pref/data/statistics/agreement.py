"""How far the annotators of a task agree, and whether our aggregation gives what a release gives."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import combinations
from typing import Any, Literal

from nemo_hs2pref.data.aggregation import UNUSABLE
from nemo_hs2pref.data.groups import Panel
from nemo_hs2pref.data.records import ATTRIBUTES

QUESTIONS = ("preference", *ATTRIBUTES)
Stage = Literal["before", "after"]  # all answers of a panel; the three that were averaged


class Agreement:
    """Counts over the panels of each question.

    Kappa is Cohen's with quadratic weights. The papers do not say who are its two raters where a task has three to
    five annotators of a thousand: here they are all ordered pairs of annotators of a task, pooled over the tasks, each
    pair once (ours). -100 is on no scale and in no pair.
    """

    def __init__(self) -> None:
        self._panels: Counter[str] = Counter()
        self._annotations: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()
        self._released: Counter[tuple[str, bool]] = Counter()  # (question, whether our result is the same)
        self._answers: Counter[tuple[str, Stage, int, int]] = Counter()  # of two annotators, the lower answer first

    def add(self, panel: Panel) -> None:
        self._panels[panel.question] += 1
        self._annotations[panel.question] += len(panel.values)
        self._count_answers(panel.question, "before", panel.values)
        if panel.kept is not None:
            self._kept[panel.question] += 1
            self._count_answers(panel.question, "after", panel.kept)
        if panel.released is not None:
            self._released[panel.question, panel.result == panel.released] += 1

    def _count_answers(self, question: str, stage: Stage, values: Sequence[int]) -> None:
        for low, high in combinations(sorted(value for value in values if value != UNUSABLE), 2):
            self._answers[question, stage, low, high] += 1

    def to_json(self) -> dict[str, Any]:
        """Kappa before and after the three annotations are chosen; all None without scikit-learn ("kappa_by" is None).

        {"kappa_by": "scikit-learn", "questions": {name: {"panels": n, "annotations": n, "kept": panels with three that
         agree, "kappa_before", "kappa_after", "released_same": panels, "released_different": panels}}}
        """
        computed = find_spec("sklearn") is not None
        questions = {name: self._question(name, computed) for name in QUESTIONS if name in self._panels}
        return {"kappa_by": "scikit-learn" if computed else None, "questions": questions}

    def _question(self, name: str, computed: bool) -> dict[str, Any]:
        return {
            "panels": self._panels[name],
            "annotations": self._annotations[name],
            "kept": self._kept[name],
            "kappa_before": quadratic_kappa(self._pairs(name, "before")) if computed else None,
            "kappa_after": quadratic_kappa(self._pairs(name, "after")) if computed else None,
            "released_same": self._released[name, True],
            "released_different": self._released[name, False],
        }

    def _pairs(self, name: str, stage: Stage) -> dict[tuple[int, int], int]:
        return {
            (low, high): count
            for (question, of, low, high), count in self._answers.items()
            if (question, of) == (name, stage)
        }


def quadratic_kappa(pairs: Mapping[tuple[int, int], int]) -> float | None:
    """Cohen's kappa with quadratic weights of unordered pairs of answers, each counted in both orders.

    The weight is the squared difference of the answers themselves, so that -1 and 1 are 2 apart although no annotator
    says 0. None where all answers are alike, or there are none.
    """
    from sklearn.metrics import cohen_kappa_score  # heavy, and only in the extra `nemo`

    answers = {answer for pair in pairs for answer in pair}
    if len(answers) < 2:
        return None
    both_orders = [(*pair, n) for (low, high), n in pairs.items() for pair in ((low, high), (high, low))]
    first, second, counts = zip(*both_orders, strict=True)
    scale = list(range(min(answers), max(answers) + 1))  # scikit-learn weighs by place in this list
    return float(cohen_kappa_score(first, second, labels=scale, weights="quadratic", sample_weight=counts))
