"""Several runs side by side: the layout of the paper's Table 1, differences on the same pairs, curves in one figure."""

from collections.abc import Iterator, Sequence
from itertools import combinations

from nemo_hs2pref.evaluation.preference_report import FEW
from nemo_hs2pref.report.benchmark import own_row, with_published
from nemo_hs2pref.report.document import Block, Pictures, Section, Table, Text
from nemo_hs2pref.report.drawing import MISSING, can_draw, training_picture
from nemo_hs2pref.report.evaluations import Evaluation
from nemo_hs2pref.report.figures import cells
from nemo_hs2pref.report.findings import LENGTH, accuracy_interval, ask, percent, signed_span, verdict
from nemo_hs2pref.report.runs import Run


def comparison_sections(runs: Sequence[Run]) -> list[Section]:
    sections = [
        Section("RewardBench, in the layout of the paper's Table 1", [*rewardbench(runs)]),
        Section("Accuracy on pairs", [*accuracies(runs)]),
        Section("Differences on the same pairs", [*paired(runs)]),
        Section("Training curves", [*curves(runs)]),
    ]
    return [section for section in sections if section.blocks]


def rewardbench(runs: Sequence[Run]) -> Iterator[Block]:
    """Our rows, then the published ones; a row for each evaluation."""
    ours = [
        own_row(name_of(run, evaluation), evaluation.summary.get("sections") or {})
        for run, evaluation in evaluations_of(runs)
        if evaluation.benchmark == "rewardbench"
    ]
    if missing := [run.name for run in runs if all(each.benchmark != "rewardbench" for each in run.evaluations)]:
        yield Text(f"Not evaluated on RewardBench: {', '.join(missing)}.")
    if ours:
        yield with_published(ours)


def accuracies(runs: Sequence[Run]) -> Iterator[Block]:
    """One row an evaluation of any benchmark, length alone beside it."""
    rows: list[tuple[str, ...]] = []
    for run, evaluation in evaluations_of(runs):
        found = cells({**evaluation.summary, "interval": accuracy_interval(evaluation)}, "")
        figures = (found[key] for key in ("pairs", "accuracy", "length_only_accuracy"))
        rows.append((run.name, run.title_of(evaluation), *figures, ask(LENGTH, evaluation).answer))
    if missing := [run.name for run in runs if not run.evaluations]:
        yield Text(f"Not evaluated: {', '.join(missing)}.")
    if rows:
        yield Table(("model", "evaluation", "pairs", "accuracy", "longer response", "better than length"), rows, "llr")


def paired(runs: Sequence[Run]) -> Iterator[Block]:
    """Every two evaluations of different runs on the same pairs; the interval is that of the paired difference."""
    rows: list[tuple[str, ...]] = []
    for (run, one), (other_run, other) in combinations(evaluations_of(runs), 2):
        if run is not other_run and same_pairs(one, other):
            rows.append((f"{run.name} less {other_run.name}", one.title, *difference(one, other)))
    if rows:
        header = (
            "models",
            "evaluation",
            "pairs",
            "points",
            "95 % interval",
            "only the first",
            "only the second",
            "the first is",
        )
        yield Table(header, rows, "llrrrrrl")
    elif any(run.evaluations for run in runs):
        yield Text("No two of these runs were evaluated on the same pairs.")


def same_pairs(one: Evaluation, other: Evaluation) -> bool:
    """The same texts under the same ids, in the same order."""
    if not (one.pairs and one.is_of_pairs and one.benchmark == other.benchmark):
        return False
    first, second = (
        [(pair.id, pair.prompt, pair.chosen, pair.rejected) for pair in each.pairs] for each in (one, other)
    )
    return first == second


def difference(one: Evaluation, other: Evaluation) -> tuple[str, ...]:
    """Pairs, points, interval, pairs that only one of the two gets right, and what follows."""
    gains = (one.margins() > 0).astype(float) - (other.margins() > 0)
    interval = one.interval(gains)
    only_one, only_other = int((gains > 0).sum()), int((gains < 0).sum())
    answer, _ = verdict(interval)
    said = {"yes": "better", "no, worse": "worse"}.get(answer, "not shown to differ")
    said = said if one.prompts >= FEW else f"open: fewer than {FEW} prompts"
    points = f"{100 * gains.mean():+.1f}"
    return f"{len(gains):,}", points, signed_span(interval), f"{only_one:,}", f"{only_other:,}", said


def curves(runs: Sequence[Run]) -> Iterator[Block]:
    trained = {run.name: run.metrics for run in runs if run.metrics}
    if without := [f"{run.name} ({run.made_of})" if run.made_of else run.name for run in runs if not run.metrics]:
        yield Text(f"Without curves: {'; '.join(without)}.")
    if trained:
        yield Pictures([training_picture(trained, "training-together")]) if can_draw() else Text(MISSING)


def headline(runs: Sequence[Run]) -> str:
    """The best accuracy by benchmark and input, where several runs have it."""
    groups: dict[tuple[str, str], list[tuple[Run, Evaluation]]] = {}
    for run, evaluation in evaluations_of(runs):
        groups.setdefault(evaluation.rows, []).append((run, evaluation))
    shared = [found for found in groups.values() if len({run.name for run, _ in found}) > 1]
    titles = [found[0][1].title for found in shared]
    return " ".join(
        best(title if titles.count(title) == 1 else f"{title}, {told_apart(found[0][1])}", found)
        for title, found in zip(titles, shared, strict=True)
    )


def told_apart(evaluation: Evaluation) -> str:
    """What tells apart two files of one name."""
    return f"SHA-256 {evaluation.rows[1][:12]}…"


def best(title: str, found: Sequence[tuple[Run, Evaluation]]) -> str:
    """Who has the highest accuracy on the same rows, or that several have."""
    highest = max(evaluation.summary["accuracy"] for _, evaluation in found)
    names = list(dict.fromkeys(run.name for run, evaluation in found if evaluation.summary["accuracy"] == highest))
    if len(names) > 1:
        return f"{title}: {', '.join(names)} have the same accuracy, {percent(highest)}, and none a higher one."
    return (
        f"{title}: {names[0]} has the highest accuracy, {percent(highest)}; whether that is a difference stands below."
    )


def evaluations_of(runs: Sequence[Run]) -> list[tuple[Run, Evaluation]]:
    return [(run, evaluation) for run in runs for evaluation in run.evaluations]


def name_of(run: Run, evaluation: Evaluation) -> str:
    """The run's name; with the evaluation's where it has several of the benchmark."""
    alike = [each for each in run.evaluations if each.benchmark == evaluation.benchmark]
    return run.name if len(alike) == 1 else f"{run.name}, {evaluation.name}"
