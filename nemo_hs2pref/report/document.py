"""What a report is made of, before it is HTML or Markdown. All text is plain: the formats escape it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Tone = Literal["good", "bad", "unsure"]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Code:
    """Text of a program, as it is."""

    text: str
    language: str


@dataclass(frozen=True)
class Table:
    """The first column names the row."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str = "lr"  # of each column, left or right; the last letter stands for those that follow
    quiet: frozenset[int] = frozenset()  # rows that are others' numbers, set apart in looks and by their text

    @property
    def alignment(self) -> str:
        """A letter for each column."""
        return self.align.ljust(len(self.header), self.align[-1])


@dataclass(frozen=True)
class Picture:
    """One drawing in both formats: `svg` follows the page's colours, `png` is a file beside the Markdown."""

    name: str  # of the file, without a suffix
    caption: str
    svg: str
    png: bytes
    wide: bool = False  # takes the whole width of the page


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side, as far as the page is wide."""

    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Finding:
    """One question about the model, the answer in a word, and the sentence that has the figures."""

    question: str
    answer: str
    tone: Tone
    reason: str


@dataclass(frozen=True)
class Answer:
    """The page's first words: on what, the answer, its two main figures, and what stands behind it."""

    subject: str
    headline: str
    figures: str
    tone: Tone
    findings: Sequence[Finding]


@dataclass(frozen=True)
class Side:
    """A response with what is known of it in a few words."""

    title: str
    facts: str
    text: str


@dataclass(frozen=True)
class Example:
    """A prompt with two responses, to be read side by side."""

    title: str
    facts: str
    prompt: str
    sides: tuple[Side, Side]


@dataclass(frozen=True)
class Folded:
    """What most readers skip, behind its title."""

    title: str
    blocks: "Sequence[Block]"


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: "Sequence[Block]"


Block = Text | Code | Table | Pictures | Answer | Example | Folded | Section


@dataclass(frozen=True)
class Document:
    """A page."""

    title: str
    subtitle: str
    blocks: Sequence[Block]
