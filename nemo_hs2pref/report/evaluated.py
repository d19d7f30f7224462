"""The section of one evaluation: its tables, its pictures, and the examples that it got most wrong."""

from collections.abc import Iterator

from nemo_hs2pref.report.benchmark import section_table, subset_blocks
from nemo_hs2pref.report.document import Block, Folded, Pictures, Section, Table, Text
from nemo_hs2pref.report.drawing import MISSING, can_draw, evaluation_pictures, joined
from nemo_hs2pref.report.evaluations import SCORED_PAIRS, Evaluation
from nemo_hs2pref.report.examples import worst
from nemo_hs2pref.report.figures import tables
from nemo_hs2pref.report.runs import Run

# Where it comes from, what is told otherwise, and what no reader asks for.
NOT_FIGURES = frozenset(
    {"benchmark", "tool_version", "input", "model", "checkpoint", "scores", "goodness", "standardized", "intervals"}
    | {"incomplete", "unofficial_counts", "comparison", "calibration", "subsets"}
    | {"sections", "length_only_sections", "shorter_only_sections"}
)


def evaluation_section(evaluation: Evaluation, run: Run) -> Section:
    title = f"Evaluation: {run.title_of(evaluation)}"
    return Section(title, [*_blocks(evaluation, joined(run.name, evaluation.name))])


def _blocks(evaluation: Evaluation, place: str) -> Iterator[Block]:
    summary = evaluation.summary
    yield Table(("", ""), [*provenance(evaluation)], "l")
    yield from map(Text, gaps(evaluation))
    if "sections" in summary:
        yield Section("Sections, beside published ones", [section_table(evaluation)])
    yield from tables(summary, NOT_FIGURES)
    if "subsets" in summary:
        yield Section("Subsets", subset_blocks(summary["subsets"]))
    if calibration := summary.get("calibration"):
        yield Folded("Calibration in figures", [*tables(calibration)])
    if comparison := summary.get("comparison"):
        yield Section("Beside its baseline", [*tables(comparison, frozenset({"intervals"}))])
    if not evaluation.pairs:
        yield Text(f"No pictures and no examples: the folder has no {SCORED_PAIRS}.")
        return
    if evaluation.is_of_pairs:
        drawn = [Pictures(evaluation_pictures(evaluation, place)), Text(HOW_TO_READ)] if can_draw() else [Text(MISSING)]
        yield Section("Calibration and length", drawn)
    yield from worst(evaluation)


HOW_TO_READ = (
    "Reliability: points below the dashed line are over-confident, above it under-confident. Accuracy by difference in "
    "length: a model that knows nothing of length has a level line; one that follows length rises from left to right."
)


def provenance(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """What was scored, and by what."""
    summary = evaluation.summary
    given = summary.get("input") or {}
    if given.get("name"):
        rows = f"{given['rows']:,} rows" if given.get("rows") is not None else ""
        digest = f"SHA-256 {given['sha256'][:12]}…" if given.get("sha256") else ""
        yield "input", ", ".join(filter(None, (str(given["name"]), rows, digest)))
    for key in ("model", "scores", "goodness"):
        if summary.get(key):
            yield key, str(summary[key])
    if summary.get("standardized"):
        yield "rewards", "standardized: margins and calibration are in units of their standard deviation"
    if method := (summary.get("intervals") or {}).get("method"):
        yield "intervals", f"95 %, {method}"
    yield "folder", evaluation.name


def gaps(evaluation: Evaluation) -> Iterator[str]:
    """A sentence for everything in which the rows are not the benchmark's."""
    for section, lacking in (evaluation.summary.get("incomplete") or {}).items():
        yield f"Not scored: {section}, which lacks {', '.join(lacking)}."
    for name, count in (evaluation.summary.get("unofficial_counts") or {}).items():
        yield f"Not as released: {name} has {count['found']:,} rows, the release {count['released']:,}."
