"""RewardBench in the layout of the paper's Table 1, with the published rows below ours."""

from collections.abc import Iterator, Mapping, Sequence

from nemo_hs2pref.evaluation.published import OTHERS, PUBLISHED, Published
from nemo_hs2pref.report.document import Table
from nemo_hs2pref.report.evaluations import Evaluation

SECTIONS = ("Overall", "Chat", "Chat Hard", "Safety", "Reasoning")
HEADER = ("model", *SECTIONS, "source")


def section_table(evaluation: Evaluation) -> Table:
    """This evaluation, length alone, and what is published."""
    summary = evaluation.summary
    ours = [own_row("this model", summary["sections"])]
    for rule, key in (("longer response", "length_only_sections"), ("shorter response", "shorter_only_sections")):
        if scores := summary.get(key):
            ours.append(own_row(rule, scores))
    return with_published(ours)


def with_published(ours: Sequence[Sequence[str]]) -> Table:
    """Rows of ours and the papers' below them, which say that they are published, and where."""
    rows = [*ours, *published_rows()]
    return Table(HEADER, rows, "lrrrrrl", quiet=frozenset(range(len(ours), len(rows))))


def own_row(name: str, sections: Mapping[str, float]) -> tuple[str, ...]:
    """Per cent; a section that is not scored has a dash."""
    scores = (sections.get(section) for section in SECTIONS)
    return name, *("-" if score is None else f"{100 * score:.1f}" for score in scores), "measured here"


def published_rows() -> Iterator[tuple[str, ...]]:
    """By paper, each in the order of its table."""
    papers: dict[str, list[Published]] = {}
    for row in (*PUBLISHED.values(), *OTHERS):
        papers.setdefault(row.source, []).append(row)
    for row in (row for rows in papers.values() for row in rows):
        yield row.model, *(f"{score:.1f}" for score in row.scores), f"published: {row.source}"
