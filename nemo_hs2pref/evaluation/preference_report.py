"""What one set of rewards says about one set of pairs: for programs and for the terminal."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nemo_hs2pref.evaluation.attributes import AttributeReport
from nemo_hs2pref.evaluation.calibration import Calibration
from nemo_hs2pref.evaluation.groups import PARTITIONS, Group
from nemo_hs2pref.evaluation.length import better_rule
from nemo_hs2pref.evaluation.statistics import FEW, INTERVALS


@dataclass(frozen=True)
class PreferenceReport(Group):
    """All pairs but those of strength 0, in which neither side was preferred, and groups of them."""

    left_out: int  # pairs of strength 0
    ties: int  # pairs with equal rewards
    equal_lengths: int
    by_strength: dict[str, Group]  # "1", "2", "3", where they occur; pairs without a strength are in none
    by_subset: dict[str, Group]
    by_turns: dict[str, Group]  # of the user: "1", "2", "3", "4+"
    by_length_difference: dict[str, Group]  # "chosen longer", "similar", "chosen shorter"
    by_response_length: dict[str, Group]  # quarters by the longer response: "0-412", ... characters
    mean_margin: float  # of chosen minus rejected reward
    reward_length_correlation: float | None  # Pearson, over all responses; None where one of the two is constant
    margin_strength_pearson: float | None  # over pairs with a strength; None where strength or margin is constant
    margin_strength_spearman: float | None
    calibration: Calibration
    attributes: dict[str, AttributeReport]  # those that are both rated and predicted

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "intervals": {"method": "percentile bootstrap over prompts", **INTERVALS}}

    def table(self) -> str:
        """Figures of all pairs, of the groups where they are not all pairs, and what to beware of."""
        parts = ["\n".join(self._figures())]
        parts += [_group_table(title, groups) for title, groups in self._divided().items()]
        if warnings := list(self._warnings()):
            parts.append("\n".join(f"warning: {warning}" for warning in warnings))
        return "\n\n".join(parts)

    def _divided(self) -> dict[str, dict[str, Group]]:
        """The partitions that say more than all pairs do, as one group of all of them does not."""
        partitions: dict[str, dict[str, Group]] = {name: getattr(self, name) for name in PARTITIONS}
        return {
            name.replace("_", " "): groups
            for name, groups in partitions.items()
            if any(group.pairs < self.pairs for group in groups.values())
        }

    def _figures(self) -> Iterator[str]:
        several = "" if self.prompts == self.pairs else f"  of {self.prompts} prompts"
        yield f"{'pairs':<28}{self.pairs:>7}{several}"
        counts = {"left out (no preference)": self.left_out, "ties, counted as wrong": self.ties}
        yield from (f"{name:<28}{count:>7}" for name, count in counts.items() if count)
        yield f"{'accuracy':<28}{_share(self.accuracy, self.interval)}"
        yield f"{'longer response wins':<28}{_share(self.length_only_accuracy, self.length_only_interval)}"
        yield f"{'shorter response wins':<28}{_share(self.shorter_only_accuracy, self.shorter_only_interval)}"
        calibration = self.calibration
        figures = {
            "mean reward margin": self.mean_margin,
            "correlation with length": self.reward_length_correlation,
            "margin-strength correlation": self.margin_strength_pearson,
            "log loss": calibration.log_loss,
            "Brier score": calibration.brier_score,
            "calibration error": calibration.expected_calibration_error,
        }
        yield from (f"{name:<28}{value:>7.3f}" for name, value in figures.items() if value is not None)
        for name, report in self.attributes.items():
            correlation = "" if report.pearson is None else f"  correlation {report.pearson:.3f}"
            yield f"{f'squared error, {name}':<28}{report.mse:>7.3f}{correlation}  of {report.responses}"

    def _warnings(self) -> Iterator[str]:
        low, high = self.gain_over_length_interval
        if low <= 0:
            rule, _ = better_rule(self.length_only_accuracy, self.shorter_only_accuracy)
            yield (
                f"not shown to be better than taking the {rule} response: "
                f"{100 * self.gain_over_length:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
            )
        small = {
            title: [name for name, group in groups.items() if group.prompts < FEW]
            for title, groups in self._divided().items()
        }
        few = [f"{title} {', '.join(names)}" for title, names in small.items() if names]
        if self.prompts < FEW:
            yield f"fewer than {FEW} prompts show little, and intervals are too narrow"
        elif few:
            yield f"fewer than {FEW} prompts show little, and intervals are too narrow: {'; '.join(few)}"


def _group_table(title: str, groups: Mapping[str, Group]) -> str:
    width = max(28, *(len(name) + 4 for name in groups))
    lines = [f"{title:<{width}}{'pairs':>7}  accuracy                  longer response wins"]
    for name, group in groups.items():
        accuracy = _share(group.accuracy, group.interval)
        length_only = _share(group.length_only_accuracy, group.length_only_interval)
        lines.append(f"{f'  {name}':<{width}}{group.pairs:>7}  {accuracy:<26}{length_only}".rstrip())
    return "\n".join(lines)


def _share(share: float, interval: tuple[float, float]) -> str:
    return f"{share:>7.1%}  [{interval[0]:.1%}, {interval[1]:.1%}]"
