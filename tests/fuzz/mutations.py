"""Damage to a folder of sound files: bytes, values of JSON and YAML, and the files themselves.

Everything is drawn from the random.Random that is given, so that a seed repeats it. What was done is told in words.
"""

import gzip
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import yaml

DEEP = 100_000  # nested lists: more than any parser takes
ODD_VALUES: Sequence[Any] = (
    *(None, True, False, 0, -1, 1, 3, 2**31, 2**63, 10**9, 10**30, -(10**30), 0.5, 1e308, -0.0),
    *(float("nan"), float("inf"), float("-inf")),
    *("", " ", "x", "0", "1", "nan", "null", "x" * 10_000, "é語", "\u202etxt", "\x1b[31mred\x1b[0m", "\x00", "\ud800"),
    *("a\nb", "../../x", "/", ".", "~", "${oc.env:HOME}", "${x}", "{{ 1 }}", "%s%n", "1e5", "2020-01-01", "-"),
    *([], {}, [None], [1, "x", {}], {"a": None}, {"": {"": []}}, [[]] * 3, {"role": "user", "content": "x"}),
)
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 12345\n"
LAUGHS = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
WHOLE_FILES: Sequence[bytes] = (
    *(
        b"",
        b"\n",
        b"null",
        b"true",
        b"3",
        b"[]",
        b"{}",
        b'"text"',
        b"{",
        b"[{}]",
        b"\x00" * 64,
        b"\xff\xfe\x00",
        b"text\n",
    ),
    *(b"NaN", b"1" * 5_000, b"-" * 5_000, b"[" * DEEP, b'{"a":' * DEEP, b"- " * DEEP, b"\xef\xbb\xbf{}", LFS_POINTER),
    *(b"\x80\x04.", b"\x1f\x8b\x08\x00", b"PK\x03\x04", b"a: &a [*a]\n", b"a: 1\na: 2\n", b"---\na\n---\nb\n"),
    *(b"!!python/object/apply:os.system [ls]\n", b"a: !unknown x\n", b"\ta: 1\n", b"? [a]\n: 1\n", b"1: a\n2: b\n"),
    *(LAUGHS.encode(), '{"a": "ä"}'.encode("latin-1"), '{"a": 1}'.encode("utf-16"), gzip.compress(b"[" * 100_000)),
)


def damage(folder: Path, chance: Random, patterns: Sequence[str] = ("*",)) -> str:
    """Damage one to three of the files below `folder` whose name fits a pattern; says what was done."""
    files = sorted(path for pattern in patterns for path in folder.rglob(pattern) if path.is_file())
    if not files:
        return "nothing is left to damage"
    times = chance.choices((1, 2, 3), (6, 2, 1))[0]
    return "; ".join(damage_file(chance.choice(files), files, chance) for _ in range(times))


def damage_file(file: Path, files: Sequence[Path], chance: Random) -> str:
    if not file.is_file():  # by an earlier damage
        return f"{file.name} left as it is"
    if chance.random() < 0.15:
        kind = chance.choice(FILES)
        kind(file, files, chance)
        return f"{file.name}: {kind.__name__}"
    data = file.read_bytes()
    if chance.random() < 0.7 and (changed := restructured(file.name, data, chance)) is not None:
        file.write_bytes(changed)
        return f"{file.name}: values"
    kind = chance.choice(BYTES)
    file.write_bytes(kind(data, chance))
    return f"{file.name}: {kind.__name__}"


# --- the file itself ---


def removed(file: Path, files: Sequence[Path], chance: Random) -> None:
    file.unlink()


def a_directory(file: Path, files: Sequence[Path], chance: Random) -> None:
    file.unlink()
    file.mkdir()


def a_loop(file: Path, files: Sequence[Path], chance: Random) -> None:
    file.unlink()
    file.symlink_to(file.name)


def a_dangling_link(file: Path, files: Sequence[Path], chance: Random) -> None:
    file.unlink()
    file.symlink_to("nowhere")


def another_file(file: Path, files: Sequence[Path], chance: Random) -> None:
    other = chance.choice(files)
    if other.is_file() and other != file:
        shutil.copyfile(other, file)


def another_text(file: Path, files: Sequence[Path], chance: Random) -> None:
    file.write_bytes(chance.choice(WHOLE_FILES))


def unreadable(file: Path, files: Sequence[Path], chance: Random) -> None:
    file.chmod(0)  # which stops no root


FILES = (removed, a_directory, a_loop, a_dangling_link, another_file, *[another_text] * 6, unreadable)


# --- bytes ---


def cut(data: bytes, chance: Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def flipped(data: bytes, chance: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(min(len(data), chance.choice((1, 1, 3, 20)))):
        changed[place_in(data, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def inserted(data: bytes, chance: Random) -> bytes:
    at = place_in(data, chance)
    what = chance.choice(
        (b"\x00", b"\n", b'"', b"}", b"[", b"\xff", b": ", b"&a *a", chance.randbytes(chance.randrange(1, 40)))
    )
    return data[:at] + what + data[at:]


def spliced(data: bytes, chance: Random) -> bytes:
    """A part of the file once more, or left out."""
    start, at = place_in(data, chance), place_in(data, chance)
    length = chance.choice((1, 10, 100, 1000))
    return data[:at] + data[start : start + length] + data[at + chance.choice((0, length)) :]


def place_in(data: bytes, chance: Random) -> int:
    """More often near the beginning, where headers are."""
    return chance.randrange(max(1, min(len(data), chance.choice((8, 200, 10**9)))))


BYTES: Sequence[Callable[[bytes, Random], bytes]] = (cut, flipped, inserted, spliced)


# --- values of JSON and YAML ---


def restructured(name: str, data: bytes, chance: Random) -> bytes | None:
    """Other values in the place of some; None for a file that is neither JSON, JSON lines, YAML nor safetensors."""
    try:
        if name.endswith(".jsonl"):
            lines = data.decode().splitlines()
            at = chance.randrange(len(lines))
            lines[at] = as_json(changed_value(json.loads(lines[at]), chance), chance)
            return encoded("\n".join(lines) + "\n")
        if name.endswith(".json"):
            return encoded(as_json(changed_value(json.loads(data), chance), chance))
        if name.endswith(".yaml"):
            return encoded(yaml.dump(changed_value(yaml.safe_load(data), chance), allow_unicode=True, sort_keys=False))
        if name.endswith(".safetensors"):
            length = int.from_bytes(data[:8], "little")
            header = encoded(as_json(changed_value(json.loads(data[8 : 8 + length]), chance), chance))
            return len(header).to_bytes(8, "little") + header + data[8 + length :]
    except (ValueError, IndexError, RecursionError, yaml.YAMLError):  # by an earlier damage
        return None
    return None


def encoded(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogatepass")


def as_json(value: Any, chance: Random) -> str:
    """Lone surrogates escaped or not; here and there a number or a nesting that json.dumps does not write."""
    text = json.dumps(value, ensure_ascii=chance.random() < 0.5)
    if chance.random() < 0.05:
        extreme = chance.choice(("1" * 5_000, "1e999", "[" * DEEP + "]" * DEEP, "-", "0x1", "1.", "'a'"))
        text = (
            text.replace("null", extreme, 1) if "null" in text else text[:-1] + ("," if len(text) > 2 else "") + extreme
        )
    return text


def changed_value(document: Any, chance: Random) -> Any:
    """`document` with one to three of its values replaced, moved, wrapped or removed, or with other keys."""
    for _ in range(chance.choices((1, 2, 3), (6, 2, 1))[0]):
        places = [*islice(places_in(document), MOST_PLACES)]
        if not places:
            return chance.choice(ODD_VALUES)
        holder, key = chance.choice(places)
        act = chance.randrange(10)
        if act < 6:
            holder[key] = chance.choice(ODD_VALUES)
        elif act == 6:
            del holder[key]
        elif act == 7:
            other, elsewhere = chance.choice(places)
            holder[key] = json.loads(json.dumps(other[elsewhere], default=str)) if elsewhere in keys_of(other) else None
        elif act == 8:
            holder[key] = chance.choice(([holder[key]], {"a": holder[key]}, str(holder[key])))
        elif isinstance(holder, dict):
            holder[chance.choice(("", "x", "\x1b[31m", "\u202e", "a" * 300, f"{key} "))] = holder.pop(key)
        else:
            holder.insert(key, chance.choice(ODD_VALUES))
    return document


MOST_PLACES = 100_000  # a document of aliases, damaged before, stands for millions


def places_in(document: Any) -> Iterator[tuple[Any, Any]]:
    """(holder, key) of every value."""
    for key in keys_of(document):
        yield document, key
        yield from places_in(document[key])


def keys_of(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        return list(value)
    return range(len(value)) if isinstance(value, list) else ()
