"""A data file to its facts: all rows are counted, a random few are kept to be shown and tokenised."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from tqdm import tqdm

from nemo_hs2pref.data.doubts.columns import contradicts
from nemo_hs2pref.data.doubts.overlaps import Overlaps
from nemo_hs2pref.data.doubts.texts import doubts_of_texts
from nemo_hs2pref.data.inspection.facts import FileFacts
from nemo_hs2pref.data.inspection.kinds import Example, Kind, Unusable, recognise
from nemo_hs2pref.data.inspection.rendering import Renderer
from nemo_hs2pref.data.inspection.tally import Reservoir
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.reading.sources import Table
from nemo_hs2pref.data.reading.split import split_and_family, split_of_word
from nemo_hs2pref.data.unread import unread
from nemo_hs2pref.errors import DataError

FIRST_ROWS = 20  # tell the kind of a file
NO_KEYS = ("none",)
LONGER_SIDE = "longer side"  # what `data prepare --max-length` compares with its limit


@dataclass(frozen=True)
class Sampling:
    """Which rows are looked at more closely than all are."""

    samples: int  # random rows to show
    token_rows: int  # at most so many random rows are tokenised
    seed: int


@dataclass(frozen=True)
class Look:
    """What is done with the rows of all files of a path."""

    sampling: Sampling
    renderer: Renderer
    overlaps: Overlaps


def read_rows(facts: FileFacts, path: Path, look: Look) -> None:
    """Fill in all that the rows say; DataError where the file breaks off, or is neither JSON lines nor Parquet."""
    sampling, renderer = look.sampling, look.renderer
    shown = Reservoir[tuple[int, Example]](sampling.samples, sampling.seed)
    counted = Reservoir[Example](sampling.token_rows if renderer.counts_tokens else 0, sampling.seed)
    try:
        for number, example in _examples(facts, path, look.overlaps):
            facts.add(example)
            shown.add((number, example))
            counted.add(example)
    finally:  # a gzip file that breaks off is shown as far as it goes
        facts.samples = shown.items()
        _count_tokens(facts, counted.items(), renderer)


def _examples(facts: FileFacts, path: Path, overlaps: Overlaps) -> Iterator[tuple[int, Example]]:
    """(line, row) of those that can be used; the others are counted."""
    with tqdm(total=facts.size_bytes, desc=path.name, unit="B", unit_scale=True, leave=False, disable=None) as bar:
        lines = Table(path.name, (path,), "").rows(lambda done: bar.update(done - bar.n))
        head = list(islice(lines, FIRST_ROWS))
        if not head:
            return
        rows = _objects(path, head)
        kind = recognise(rows)
        if kind is None:
            facts.unknown_keys = tuple(rows[0]) or NO_KEYS
            return
        facts.kind = kind.name
        file_split, family = split_and_family(facts.name)
        parse = _parser(kind, has_ids=any("id" in row for row in rows))
        for where, row in chain(head, lines):
            facts.rows += 1
            number = line_number(where)
            try:
                if isinstance(row, DataError):
                    raise row
                ignored = unread(row, kind.read)
                example = parse(row)
                split = split_of_word(row.get("split")) or file_split or "train"
                _doubt(facts, number, row, example)
                overlaps.add(f"{facts.name}:{number}", family, split, example.prompt, _preferred(example))
            except Unusable as reason:
                facts.unusable[str(reason)] += 1
            except DataError as fault:
                facts.add_fault(number, str(fault))
            else:
                facts.ignored.update(ignored)
                yield number, example


def _doubt(facts: FileFacts, number: int, row: Row, example: Example) -> None:
    """What a row may not mean, by itself."""
    for word in doubts_of_texts(example.prompt, [side.text for side in example.sides]):
        facts.doubts.add(word, f"line {number}")
    if contradicts(row):
        facts.doubts.add("contradicting_columns", f"line {number}")


def _preferred(example: Example) -> list[str] | None:
    """The responses of a row, the better one first; None where they are compared and none is preferred."""
    sides = [side.text for side in example.sides]
    if example.better is not None:
        return [sides[example.better], sides[1 - example.better]]
    return sides if len(sides) == 1 and example.strength is None else None


def line_number(where: str) -> int:
    """Of "file:line"."""
    return int(where.rpartition(":")[2])


def _objects(path: Path, head: Sequence[tuple[str, Row | DataError]]) -> list[Row]:
    """Those of the first rows that can be read; DataError where none can."""
    rows = [row for _, row in head if not isinstance(row, DataError)]
    if not rows:
        where, fault = head[0]
        raise DataError(f"{path}:{line_number(where)}: {fault}; expected JSON lines, one object a line")
    return rows


def _parser(kind: Kind, has_ids: bool) -> Callable[[Row], Example]:
    """Of a row; in a file of another program, which has no ids, one may do without."""
    if has_ids or not kind.has_ids:
        return kind.parse
    return lambda row: replace(kind.parse({**row, "id": "-"}), id="")


def _count_tokens(facts: FileFacts, examples: Sequence[Example], renderer: Renderer) -> None:
    """Tokens of each side's text, and of the longer of two."""
    rendered: list[dict[str, str]] = []
    for example in examples:
        try:
            rendered.append(renderer.texts(example))
        except DataError as refusal:
            facts.refused += 1
            facts.refusal = facts.refusal or str(refusal)
    facts.token_rows = len(rendered)
    counts = renderer.tokens(text for texts in rendered for text in texts.values())
    for texts in rendered:
        tokens = {label: next(counts) for label in texts}
        if len(tokens) > 1:
            tokens[LONGER_SIDE] = max(tokens.values())
        for label, count in tokens.items():
            facts.add_tokens(label, count)
