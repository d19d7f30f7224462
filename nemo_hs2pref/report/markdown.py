"""A document as GitHub's Markdown, with its pictures as files beside it. Every text is escaped here, and only here."""

import re
from collections.abc import Iterator, Sequence
from functools import singledispatch

from nemo_hs2pref.report.document import (
    Answer,
    Block,
    Code,
    Document,
    Example,
    Folded,
    Pictures,
    Section,
    Side,
    Table,
    Text,
)
from nemo_hs2pref.report.texts import opening, printable

TOP = 2  # level of a section's heading; the page's title has 1
SPECIAL = re.compile(r"([\\`*\[\]<>&|~#$])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
LISTS = re.compile(r"^(\d+)([.)])(?=\s)|^([-+=])")  # a line that would begin a list, a rule or a heading


def markdown_page(document: Document) -> str:
    """The text; it names each picture as `<name>.png`."""
    title = f"# {text(document.title)}\n\n{text(document.subtitle)}"
    return "\n\n".join([title, *map(lambda block: markdown_of(block, TOP), document.blocks)]) + "\n"


def inline(value: str) -> str:
    """One line in which nothing is Markdown or HTML, inside another line."""
    return SPECIAL.sub(lambda found: "\\" + found[0], " ".join(printable(value).split()))


def text(value: str) -> str:
    """The same as a line of its own."""
    escaped = inline(value)
    return LISTS.sub(lambda found: f"{found[1]}\\{found[2]}" if found[1] else f"\\{found[3]}", escaped)


def all_of(blocks: Sequence[Block], level: int) -> str:
    return "\n\n".join(markdown_of(block, level) for block in blocks)


@singledispatch
def markdown_of(block: Block, level: int) -> str:
    """One block without a blank line around it; `level` is that of a heading in it."""
    raise TypeError(f"no Markdown for {type(block).__name__}")


@markdown_of.register
def _(block: Text, level: int) -> str:
    return text(block.text)


@markdown_of.register
def _(block: Code, level: int) -> str:
    return fenced(block.text, block.language)


@markdown_of.register
def _(block: Section, level: int) -> str:
    return f"{'#' * level} {text(block.title)}\n\n{all_of(block.blocks, level + 1)}"


@markdown_of.register
def _(block: Folded, level: int) -> str:
    return f"<details><summary>{text(block.title)}</summary>\n\n{all_of(block.blocks, level)}\n\n</details>"


@markdown_of.register
def _(block: Table, level: int) -> str:
    rule = [":--" if letter == "l" else "--:" for letter in block.alignment]
    return "\n".join([line(map(inline, block.header)), line(rule), *(line(map(inline, row)) for row in block.rows)])


def line(cells: Iterator[str] | Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


@markdown_of.register
def _(block: Pictures, level: int) -> str:
    return "\n\n".join(f"![{text(picture.caption)}]({picture.name}.png)" for picture in block.pictures)


@markdown_of.register
def _(block: Answer, level: int) -> str:
    listed = "\n".join(
        f"- {text(finding.question)} **{text(finding.answer)}** — {text(finding.reason)}" for finding in block.findings
    )
    said = [text(block.subject), f"**{text(block.headline)}**", text(block.figures), listed]
    return "\n\n".join(filter(None, said))


@markdown_of.register
def _(block: Example, level: int) -> str:
    head = f"{'#' * level} {text(block.title)}\n\n{text(block.facts)}"
    return "\n\n".join([head, folded("Prompt", block.prompt), *map(side, block.sides)])


def side(of: Side) -> str:
    return folded(of.title, of.text, of.facts)


def folded(title: str, whole: str, facts: str = "") -> str:
    """A text under its title; the rest of a long one opens where the viewer can fold."""
    first, rest, left_out = opening(whole)
    blocks = [f"**{text(title)}** {text(facts)}".rstrip(), fenced(first)]
    if rest:
        note = f"\n\n{text(left_out)}" if left_out else ""
        blocks.append(
            f"<details><summary>{len(rest):,} more characters</summary>\n\n{fenced(rest)}{note}\n\n</details>"
        )
    return "\n\n".join(blocks)


def fenced(code: str, language: str = "text") -> str:
    """A block whose fence is longer than any in it."""
    code = printable(code)
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code.rstrip()}\n{fence}"
