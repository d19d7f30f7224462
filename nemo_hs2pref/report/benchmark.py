"""RewardBench in the layout of the paper's Table 1 and of its subsets, with what is published beside ours."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nemo_hs2pref.evaluation.published import CHAT_HARD_SUBSETS, OTHERS, PUBLISHED, Published
from nemo_hs2pref.evaluation.rewardbench.sections import OVERALL, OVERALL_WITH_PRIOR, PRIOR, SECTIONS
from nemo_hs2pref.report.document import Block, Table, Text
from nemo_hs2pref.report.evaluations import Evaluation
from nemo_hs2pref.report.figures import group_table

PRIOR_COLUMNS = (PRIOR, OVERALL_WITH_PRIOR)
COLUMNS = (OVERALL, *SECTIONS, *PRIOR_COLUMNS)
NONE_COMPLETE = "No section is complete, so none is scored."


def section_table(evaluation: Evaluation) -> Block:
    """This evaluation, length alone, and what is published; a sentence where no section is scored."""
    summary = evaluation.summary
    if not summary["sections"]:
        return Text(NONE_COMPLETE)
    ours = [own_row("this model", summary["sections"])]
    for rule, key in (("longer response", "length_only_sections"), ("shorter response", "shorter_only_sections")):
        if scores := summary.get(key):
            ours.append(own_row(rule, scores))
    return with_published(ours)


def with_published(ours: Sequence[Sequence[str]]) -> Table:
    """Rows of `own_row` and the papers' below them, which say that they are published, and where.

    The prior sets have columns where one of ours is scored on them.
    """
    header = ("model", *COLUMNS, "source")
    kept = [n for n, name in enumerate(header) if name not in PRIOR_COLUMNS or any(row[n] != "-" for row in ours)]
    header, *rows = ([row[n] for n in kept] for row in (header, *ours, *published_rows()))
    return Table(header, rows, f"l{'r' * (len(kept) - 2)}l", quiet=frozenset(range(len(ours), len(rows))))


def own_row(name: str, sections: Mapping[str, float]) -> tuple[str, ...]:
    """Name, COLUMNS in per cent, and the source; a section that is not scored has a dash."""
    scores = [100 * sections[name] if name in sections else None for name in COLUMNS]
    return name, *map(cell, scores), "measured here" if sections else "measured here; no section is complete"


def published_rows() -> Iterator[tuple[str, ...]]:
    """As `own_row`, by paper, each in the order of its table. None prints the overall with prior sets."""
    papers: dict[str, list[Published]] = {}
    for row in (*PUBLISHED.values(), *OTHERS):
        papers.setdefault(row.source, []).append(row)
    for row in (row for rows in papers.values() for row in rows):
        yield row.model, *map(cell, (*row.scores, row.prior_sets, None)), f"published: {row.source}"


def subset_blocks(subsets: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    """Our subsets, each beside what is published for it, where something is for one of them."""
    ours = group_table(subsets, "subsets")
    published = [row for row in CHAT_HARD_SUBSETS if row.subsets.keys() & subsets.keys()]
    if not published:
        return [ours]
    header = (*ours.header, *(f"published: {row.model}" for row in published))
    rows = [(*row, *(share(published_row.subsets.get(row[0])) for published_row in published)) for row in ours.rows]
    sources = dict.fromkeys(row.source for row in published)
    return [Table(header, rows, ours.align), Text(f"Published accuracies are from {', '.join(sources)}.")]


def cell(score: float | None) -> str:
    """Of per cent."""
    return "-" if score is None else f"{score:.1f}"


def share(score: float | None) -> str:
    return "-" if score is None else f"{score:.1f} %"
