"""The facts of a path for a terminal: plain text, aligned, one block a file."""

from collections.abc import Iterable, Sequence

from nemo_hs2pref.data.doubts import sentences
from nemo_hs2pref.data.inspection.facts import TOKEN_LIMITS, Facts, FileFacts
from nemo_hs2pref.data.inspection.kinds import known_kinds
from nemo_hs2pref.data.inspection.rendering import Renderer
from nemo_hs2pref.data.preparation.output import MANIFEST
from nemo_hs2pref.data.unread import named
from nemo_hs2pref.outside import one_line

INDENT = "  "
Table = list[list[str]]  # the first row and the first column are titles


def report(facts: Facts, renderer: Renderer) -> str:
    """A line on the path, and a block a file."""
    blocks = [file_report(file, renderer.template) for file in facts.files]
    if facts.path.is_dir():
        blocks.insert(0, "\n".join([_origin(facts), *_strangers(facts)]))
    if doubts := list(sentences(facts.doubts.to_json())):
        blocks.append("\n".join(["all rows:", *(f"{INDENT}warning: {doubt}" for doubt in doubts)]))
    if facts.manifest is None and any(file.unknown_keys for file in facts.files):
        blocks.append(f"Known kinds are {known_kinds()}.")
    if not renderer.counts_tokens:
        blocks.append("Lengths are in characters; --tokenizer PATH counts tokens.")
    return "\n\n".join(blocks)


def file_report(facts: FileFacts, template: str) -> str:
    inner = (INDENT + line for line in [*_warnings(facts), *_sentences(facts, template)])
    lines = map(one_line, [_headline(facts), *inner])
    tables = (_characters(facts), _strengths(facts), _ratings(facts), _tokens(facts))
    return "\n".join([*lines, *(f"\n{aligned(table)}" for table in tables if table)])


def aligned(table: Table) -> str:
    """Titles to the left, numbers to the right, a column as wide as its widest cell."""
    table = [list(map(one_line, row)) for row in table]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rows = (
        [row[0].ljust(widths[0]), *(cell.rjust(max(width, 6)) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in table
    )
    return "\n".join(INDENT + "  ".join(row) for row in rows)


def share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def size(size_bytes: float) -> str:
    """Decimal units, as file managers and `ls --si` have them."""
    for unit in ("bytes", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:,.1f} GB"


def _origin(facts: Facts) -> str:
    if facts.manifest is None:
        return f"{facts.path}: no {MANIFEST} of ours, so nothing says whether a file was changed"
    known = [f"{key} {facts.manifest[key]}" for key in ("format", "source", "seed") if key in facts.manifest]
    return one_line(f"{facts.path}: written by `hs2pref {facts.manifest['tool']}`, " + ", ".join(known))


def _strangers(facts: Facts) -> Iterable[str]:
    for name in facts.missing:
        yield f"warning: {name} is missing, which {MANIFEST} names; prepare the folder again"
    if facts.foreign:
        yield f"warning: {MANIFEST} does not name {', '.join(facts.foreign)}"


def _headline(facts: FileFacts) -> str:
    parts = [size(facts.size_bytes)]
    if facts.kind:
        parts = [facts.kind, f"{facts.rows:,} rows", *parts]
    elif facts.unknown_keys:
        parts.append(f"rows of no known kind, with {', '.join(facts.unknown_keys)}")
    if "sha256" in facts.promised and not facts.is_changed:
        parts.append(f"SHA-256 as in {MANIFEST}")
    return f"{facts.name}: {', '.join(parts)}"


def _warnings(facts: FileFacts) -> Iterable[str]:
    if facts.is_changed:
        promised = facts.promised["sha256"]
        yield (
            f"warning: changed since it was prepared: its SHA-256 begins with {facts.sha256[:12]}, {MANIFEST} has "
            f"{promised[:12]} and {facts.promised.get('rows', 'no')} rows; prepare the folder again"
        )
    if facts.problem:
        yield f"warning: {facts.problem}"
    if facts.malformed:
        first = "; the first" if facts.malformed > len(facts.faults) else ""
        yield f"warning: {facts.malformed:,} malformed rows ({share(facts.malformed, facts.rows)}){first}:"
        yield from (f"  line {number}: {fault}" for number, fault in facts.faults)
    for doubt in sentences(facts.doubts.to_json()):
        yield f"warning: {doubt}"
    if facts.refused:
        yield f"warning: the template refuses {facts.refused:,} random rows; the first: {facts.refusal}"


def _sentences(facts: FileFacts, template: str) -> Iterable[str]:
    dropped = {reason: number for reason, number in facts.promised.get("dropped", {}).items() if number}
    if dropped:
        yield f"dropped in preparation: {_numbers(dropped.items())}"
    if facts.unusable:
        yield f"rows that `data prepare` drops: {_numbers(sorted(facts.unusable.items()))}"
    if facts.ignored:
        yield f"keys that are not read: {named(facts.ignored)}"
    if "prompt" in facts.characters:
        yield f"prompts of several turns: {facts.several_turns:,} ({share(facts.several_turns, facts.usable)})"
    if facts.unequal:
        pairs = f"{facts.longer_preferred:,} of {facts.unequal:,} pairs"
        yield f"the longer response is preferred in {pairs} ({share(facts.longer_preferred, facts.unequal)})"
    if facts.token_rows:
        of = "all rows" if facts.token_rows == facts.usable else f"{facts.token_rows:,} random rows"
        yield f"tokens are those of {of}, of the whole text by the template {template}"


def _numbers(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{number:,} {reason}" for reason, number in counts)


def _characters(facts: FileFacts) -> Table:
    rows = [
        [f"  {label}", *_figures([lengths.quantile(0.5), lengths.quantile(0.95), lengths.max])]
        for label, lengths in facts.characters.items()
    ]
    return [["characters", "median", "95%", "max"], *rows] if rows else []


def _strengths(facts: FileFacts) -> Table:
    strengths = sorted(facts.strengths)
    counts = [facts.strengths[strength] for strength in strengths]
    shares = [share(count, sum(counts)) for count in counts]
    titles = ["strength", *map(str, strengths)]
    return [titles, ["  rows", *_figures(counts)], ["  share", *shares]] if strengths else []


def _ratings(facts: FileFacts) -> Table:
    names = list(dict.fromkeys(name for rated in facts.ratings.values() for name in rated))
    rows = [
        [f"  {label}", *(f"{rated[name].mean:.2f}" if name in rated else "-" for name in names)]
        for label, rated in facts.ratings.items()
    ]
    return [["mean rating", *names], *rows] if rows else []


def _tokens(facts: FileFacts) -> Table:
    if not facts.tokens:
        return []
    titles = ["median", "95%", "99%", "max", *(f">{limit:,}" for limit in TOKEN_LIMITS)]
    rows = [
        [f"  {label}", *_figures([*map(lengths.quantile, (0.5, 0.95, 0.99)), lengths.max])]
        + [f"{lengths.above(limit):,}" for limit in TOKEN_LIMITS]
        for label, lengths in facts.tokens.items()
    ]
    return [["tokens", *titles], *rows]


def _figures(numbers: Sequence[int]) -> list[str]:
    return [f"{number:,}" for number in numbers]
