"""Rows for a terminal, as a model reads them, with what is known of each side."""

from collections.abc import Iterable, Iterator

from nemo_hs2pref.data.inspection.facts import FileFacts
from nemo_hs2pref.data.inspection.kinds import Example, Side
from nemo_hs2pref.data.inspection.rendering import Renderer
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.outside import one_line, visible

SHOWN = 1000  # characters of a text that is shown shortened: so many in all, three quarters of them from its start
WORDS = {1: "slightly better", 2: "better", 3: "much better"}


def samples(files: Iterable[FileFacts], renderer: Renderer, *, full: bool) -> str:
    """The rows that the facts kept, all files one after the other."""
    rows = ((file.name, number, example) for file in files for number, example in file.samples)
    return "\n\n".join("\n".join(_lines(*row, renderer, full)) for row in rows)


def shortened(text: str) -> str:
    """A long text without its middle, and how much that was."""
    cut = len(text) - SHOWN
    if cut <= 0:
        return text
    start = 3 * SHOWN // 4
    return f"{text[:start]}\n[... {cut:,} characters left out, --full shows them ...]\n{text[start + cut :]}"


def _lines(name: str, number: int, example: Example, renderer: Renderer, full: bool) -> Iterator[str]:
    about = [part for part in (example.id, _strength(example)) if part]
    yield one_line(f"== {name}, line {number}" + (f": {', '.join(about)}" if about else ""))
    try:
        head, rests, tokens = renderer.parts(example)
    except DataError as refusal:
        yield one_line(f"   not rendered: {refusal}")
        return
    if head:
        rests = {"prompt": head, **rests}
    sides = {side.label: side for side in example.sides}
    for label, text in rests.items():
        yield one_line(", ".join([f"-- {label}", *_about(sides.get(label), tokens.get(label))]))
        yield _quoted(text, full)
    if example.justification:
        yield "-- justification"
        yield _quoted(example.justification, full)


def _about(side: Side | None, tokens: int | None) -> Iterator[str]:
    if side is not None:
        yield f"{len(side.text):,} characters"
    if tokens is not None:
        yield f"{tokens:,} tokens" + (" with the prompt" if side is not None else "")
    if side is not None:
        yield from (f"{name} {value:g}" for name, value in side.ratings.items())


def _strength(example: Example) -> str:
    if example.strength is None:
        return ""
    if example.strength == 0:
        return "strength 0 (a tie)"
    labels = [side.label for side in example.sides]
    better = "" if example.better is None or "chosen" in labels else f"{labels[example.better]} is "
    return f"strength {example.strength} ({better}{WORDS[abs(example.strength)]})"


def _quoted(text: str, full: bool) -> str:
    text = visible(text if full else shortened(text)).removesuffix("\n")
    return "\n".join(f"| {line}".rstrip() for line in text.split("\n"))
