"""`report.html` and `report.md` with its pictures, of the runs in some folders."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from nemo_hs2pref import __version__
from nemo_hs2pref.data.preparation.output import MANIFEST, require_replaceable, whole_folder
from nemo_hs2pref.files import write_json
from nemo_hs2pref.report.answer import QUESTION, answer
from nemo_hs2pref.report.comparison import comparison_sections, headline
from nemo_hs2pref.report.document import Block, Document, Folded, Picture, Pictures, Section, Text
from nemo_hs2pref.report.evaluated import evaluation_section
from nemo_hs2pref.report.html import html_page
from nemo_hs2pref.report.markdown import markdown_page
from nemo_hs2pref.report.provenance import provenance_sections
from nemo_hs2pref.report.runs import Run, common_folder, read_runs
from nemo_hs2pref.report.trained import training_section

TOOL = "report"
HTML, MARKDOWN = "report.html", "report.md"


def write_report(folders: Sequence[Path], out: Path | None = None) -> Path:
    """Write the report of the runs, whole or not at all, and return its folder.

    Args:
        folders: a run, a checkpoint or an evaluation each; at least one.
        out: new, empty, or from an earlier run of this command; None: `report` in the folder, of several folders in
            the deepest that holds them all.

    Raises:
        DataError: a folder is no run, a file in it cannot be read, or `out` holds something else.
    """
    runs = read_runs(folders)
    if out is None:
        out = (folders[0] if len(runs) == 1 else common_folder(folders)) / "report"
    require_replaceable(out, TOOL)
    document = document_of(runs)
    texts = {HTML: html_page(document), MARKDOWN: markdown_page(document)}
    with whole_folder(out.resolve(), TOOL) as folder:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        drawn = {f"{picture.name}.png": picture.png for picture in pictures(document.blocks)}
        for name, png in drawn.items():
            (folder / name).write_bytes(png)
        write_json(folder / MANIFEST, {"tool": TOOL, "version": __version__, "outputs": [*texts, *drawn]})
    return out


def document_of(runs: Sequence[Run]) -> Document:
    """One run as a page; several as a comparison with the pages of each folded below it."""
    if len(runs) == 1:
        return Document(f"Reward model {runs[0].name}", str(runs[0].folder), run_blocks(runs[0]))
    blocks: list[Block] = [Text(told)] if (told := headline(runs)) else []
    verdicts = [Section(run.name, answer(run)) for run in runs]
    blocks += [Section("Can these reward models be trusted?", verdicts), *comparison_sections(runs)]
    blocks += [Section("Each run", [Folded(run.name, run_blocks(run)[1:]) for run in runs])]
    return Document(f"{len(runs)} reward models", ", ".join(str(run.folder) for run in runs), blocks)


def run_blocks(run: Run) -> list[Block]:
    """The answer first, then what it stands on, then where the model comes from."""
    return [
        Section(QUESTION, answer(run)),
        *(evaluation_section(evaluation, run) for evaluation in run.evaluations),
        training_section(run),
        *provenance_sections(run),
    ]


def pictures(blocks: Sequence[Block]) -> Iterator[Picture]:
    """All pictures, at any depth."""
    for block in blocks:
        if isinstance(block, Pictures):
            yield from block.pictures
        elif isinstance(block, Section | Folded):
            yield from pictures(block.blocks)
