"""A document as one HTML page that needs nothing from elsewhere. Every text is escaped here, and only here."""

import re
from collections.abc import Iterator, Sequence
from functools import singledispatch
from html import escape
from importlib.resources import files
from itertools import chain, count
from string import Template

from nemo_hs2pref.report.document import (
    Answer,
    Block,
    Code,
    Document,
    Example,
    Folded,
    Picture,
    Pictures,
    Section,
    Side,
    Table,
    Text,
)
from nemo_hs2pref.report.texts import opening, printable

TOP = 2  # level of a section's heading; the page's title has 1
SIGNS = {"good": "✓", "unsure": "!", "bad": "✗"}


def html_page(document: Document) -> str:
    """The page: page.html with page.css, the title and the blocks put in."""
    here = files("nemo_hs2pref.report")
    template = Template(here.joinpath("page.html").read_text(encoding="utf-8"))
    titles = [block.title for block in document.blocks if isinstance(block, Section)]
    names = anchors(titles)
    ids = iter(names)
    blocks = [section(of, TOP, next(ids)) if isinstance(of, Section) else html_of(of, TOP) for of in document.blocks]
    return template.substitute(
        title=text(document.title),
        subtitle=text(document.subtitle),
        style=here.joinpath("page.css").read_text(encoding="utf-8"),
        contents="".join(
            f'<li><a href="#{name}">{text(title)}</a></li>' for name, title in zip(names, titles, strict=True)
        ),
        blocks="\n".join(blocks),
    )


def text(value: str) -> str:
    return escape(printable(value))


def anchors(titles: Sequence[str]) -> list[str]:
    """An id for each title, with a number where another before it has the same."""
    found: list[str] = []
    for title in titles:
        plain = re.sub(r"\W+", "-", title.lower()).strip("-")
        found.append(next(name for name in chain([plain], (f"{plain}-{n}" for n in count(2))) if name not in found))
    return found


def all_of(blocks: Sequence[Block], level: int) -> str:
    return "\n".join(html_of(block, level) for block in blocks)


@singledispatch
def html_of(block: Block, level: int) -> str:
    """One block; `level` is that of a heading in it."""
    raise TypeError(f"no HTML for {type(block).__name__}")


@html_of.register
def _(block: Text, level: int) -> str:
    return f"<p>{text(block.text)}</p>"


@html_of.register
def _(block: Code, level: int) -> str:
    return f"<pre>{text(block.text)}</pre>"


@html_of.register
def _(block: Section, level: int) -> str:
    return section(block, level)


def section(block: Section, level: int, name: str = "") -> str:
    """`name`: the id that the contents lead to."""
    heading = f"<h{level}>{text(block.title)}</h{level}>"
    place = f' id="{name}"' if name else ""
    return f"<section{place}>{heading}\n{all_of(block.blocks, level + 1)}</section>"


@html_of.register
def _(block: Folded, level: int) -> str:
    return f"<details><summary>{text(block.title)}</summary>\n{all_of(block.blocks, level)}</details>"


@html_of.register
def _(block: Table, level: int) -> str:
    letters = block.alignment
    header = "".join(
        f'<th scope="col" class="{letter}">{text(cell)}</th>'
        for letter, cell in zip(letters, block.header, strict=True)
    )
    head = f"<thead><tr>{header}</tr></thead>" if any(block.header) else ""
    rows = "\n".join(row_of(row, letters, number in block.quiet) for number, row in enumerate(block.rows))
    return f'<div class="scroll" tabindex="0"><table>{head}<tbody>\n{rows}</tbody></table></div>'


def row_of(row: Sequence[str], letters: str, quiet: bool) -> str:
    first, *others = map(text, row)
    cells = "".join(f'<td class="{letter}">{cell}</td>' for letter, cell in zip(letters[1:], others, strict=True))
    return f'<tr{" class=quiet" if quiet else ""}><th scope="row">{first}</th>{cells}</tr>'


@html_of.register
def _(block: Pictures, level: int) -> str:
    return f'<div class="pictures">{"".join(map(figure, block.pictures))}</div>'


def figure(picture: Picture) -> str:
    kind = ' class="wide"' if picture.wide else ""
    return f"<figure{kind}>{picture.svg}<figcaption>{text(picture.caption)}</figcaption></figure>"


@html_of.register
def _(block: Answer, level: int) -> str:
    findings = "".join(
        f'<dt class="{finding.tone}"><span class="sign" aria-hidden="true">{SIGNS[finding.tone]}</span>'
        f"{text(finding.question)} <strong>{text(finding.answer)}</strong></dt><dd>{text(finding.reason)}</dd>"
        for finding in block.findings
    )
    listed = f"<dl>{findings}</dl>" if findings else ""
    subject, figures = (f'<p class="facts">{text(each)}</p>' if each else "" for each in (block.subject, block.figures))
    headline = f'<p class="headline">{text(block.headline)}</p>'
    return f'<div class="answer {block.tone}">{subject}{headline}{figures}{listed}</div>'


@html_of.register
def _(block: Example, level: int) -> str:
    sides = "".join(map(side, block.sides))
    head = f"<h{level}>{text(block.title)}</h{level}><p class='facts'>{text(block.facts)}</p>"
    return f'<article>{head}{folded_text("Prompt", block.prompt)}<div class="sides">{sides}</div></article>'


def side(of: Side) -> str:
    return f'<div class="side">{folded_text(of.title, of.text, of.facts)}</div>'


def folded_text(title: str, whole: str, facts: str = "") -> str:
    """A text under its title; the rest of a long one opens."""
    return f'<p class="facts"><strong>{text(title)}</strong> {text(facts)}</p>' + "".join(parts(whole))


def parts(whole: str) -> Iterator[str]:
    first, rest, left_out = opening(whole)
    yield f'<div class="text">{text(first)}</div>'
    if rest:
        note = f"<p class='facts'>{text(left_out)}</p>" if left_out else ""
        summary = f"{len(rest):,} more characters"
        yield f'<details class="rest"><summary>{summary}</summary><div class="text">{text(rest)}</div>{note}</details>'
