"""Several runs side by side: the layout of the paper's Table 1, differences on the same pairs, curves in one figure."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from nemo_hs2pref.evaluation.rewardbench.sections import OVERALL
from nemo_hs2pref.evaluation.rewardbench2 import DOMAINS
from nemo_hs2pref.report.benchmark import own_row, with_published
from nemo_hs2pref.report.document import Block, Pictures, Section, Table, Text
from nemo_hs2pref.report.drawing import MISSING, can_draw, training_picture
from nemo_hs2pref.report.evaluations import Evaluation
from nemo_hs2pref.report.figures import cells
from nemo_hs2pref.report.findings import LENGTH, accuracy_interval, ask
from nemo_hs2pref.report.paired import ALIGN, HEADER, common_pairs, difference
from nemo_hs2pref.report.runs import Run
from nemo_hs2pref.report.verdicts import percent


def comparison_sections(runs: Sequence[Run]) -> list[Section]:
    sections = [
        Section("RewardBench, in the layout of the paper's Table 1", [*rewardbench(runs)]),
        Section("RewardBench 2", [*rewardbench2(runs)]),
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


def rewardbench2(runs: Sequence[Run]) -> Iterator[Block]:
    """A row for each evaluation: Overall and the domains."""
    rows = [
        (name_of(run, evaluation), *map(per_cent, [evaluation.overall, *domain_scores(evaluation)]))
        for run, evaluation in evaluations_of(runs)
        if evaluation.benchmark == "rewardbench2"
    ]
    if rows:
        yield Table(("model", OVERALL, *DOMAINS), rows, "l" + "r" * (1 + len(DOMAINS)))


def domain_scores(evaluation: Evaluation) -> list[float | None]:
    """In the order of DOMAINS; None where one is not scored."""
    domains: Mapping[str, Mapping[str, float]] = evaluation.summary.get("domains") or {}
    return [domains[name]["score"] if name in domains else None for name in DOMAINS]


def per_cent(score: float | None) -> str:
    return "-" if score is None else f"{100 * score:.1f}"


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
    """Every two evaluations of different runs with common pairs; the interval is that of the paired difference."""
    rows = [
        (f"{run.name} less {other_run.name}", *difference(one, other))
        for (run, one), (other_run, other) in combinations(evaluations_of(runs), 2)
        if run is not other_run and common_pairs(one, other)
    ]
    if rows:
        yield Table(("models", *HEADER), rows, f"l{ALIGN}")
    elif any(run.evaluations for run in runs):
        yield Text("No two of these runs were evaluated on the same pairs.")


def curves(runs: Sequence[Run]) -> Iterator[Block]:
    trained = {run.name: run.metrics for run in runs if run.metrics}
    if without := [f"{run.name} ({run.made_of})" if run.made_of else run.name for run in runs if not run.metrics]:
        yield Text(f"Without curves: {'; '.join(without)}.")
    if trained:
        yield Pictures([training_picture(trained, "training-together")]) if can_draw() else Text(MISSING)


def headline(runs: Sequence[Run]) -> str:
    """The best score by benchmark and input, where several runs have it."""
    groups: dict[tuple[str, ...], list[tuple[Run, Evaluation]]] = {}
    for run, evaluation in evaluations_of(runs):
        if score_of(evaluation) is not None:
            groups.setdefault(evaluation.rows, []).append((run, evaluation))
    shared = [found for found in groups.values() if len({run.name for run, _ in found}) > 1]
    titles = [found[0][1].title for found in shared]
    return " ".join(
        best(title if titles.count(title) == 1 else f"{title}, {told_apart(found[0][1])}", found)
        for title, found in zip(titles, shared, strict=True)
    )


def told_apart(evaluation: Evaluation) -> str:
    """What tells apart two files of one name, or the rows that were left of one file."""
    return f"SHA-256 {evaluation.rows[1][:12]}…, {evaluation.summary['pairs']:,} pairs"


def score_of(evaluation: Evaluation) -> float | None:
    """What models are ranked by: the benchmark's own score, or of pairs the accuracy; None where there is neither."""
    if evaluation.overall is None and evaluation.is_of_pairs:
        return evaluation.summary["accuracy"]
    return evaluation.overall


def best(title: str, found: Sequence[tuple[Run, Evaluation]]) -> str:
    """Who has the highest score on the same rows, or that several have."""
    highest = max(score for _, evaluation in found if (score := score_of(evaluation)) is not None)
    first = {run.name: evaluation for run, evaluation in found if score_of(evaluation) == highest}
    what = "accuracy" if found[0][1].overall is None else OVERALL
    if len(first) > 1:
        return f"{title}: {', '.join(first)} have the same {what}, {percent(highest)}, and none a higher one."
    ((name, evaluation),) = first.items()
    is_tested = all(common_pairs(evaluation, other) for run, other in found if run.name != name)
    sure = "whether that is a difference stands below" if is_tested else "whether that is a difference was not tested"
    return f"{title}: {name} has the highest {what}, {percent(highest)}; {sure}."


def evaluations_of(runs: Sequence[Run]) -> list[tuple[Run, Evaluation]]:
    return [(run, evaluation) for run in runs for evaluation in run.evaluations]


def name_of(run: Run, evaluation: Evaluation) -> str:
    """The run's name; with the evaluation's where it has several of the benchmark."""
    alike = [each for each in run.evaluations if each.benchmark == evaluation.benchmark]
    return run.name if len(alike) == 1 else f"{run.name}, {evaluation.name}"
