"""A bounded part of the fuzzing, always of the same inputs (all of it is `make soak`), and the fuzzing itself."""

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from mutations import damage
from readers import READERS
from run import DEFAULT_SEED, faults
from trial import is_escape, outcome, run_trial

INPUTS = 25  # a reader: some 700, in about a minute
SEED_OF_FAULTS = 20261201
FAULTS = {  # inputs of that seed that were tracebacks once, of each kind one
    "checkpoint inspect (Hugging Face)": (508, 530, 917, 1687, 2367, 2965),
    "convert from-hf": (13,),
    "convert to-hf (.nemo)": (221, 1029, 1259, 1340, 2356),
    "score (Hugging Face)": (180, 438, 493, 1656),
    "overrides": (116, 155, 283, 2694),
    "convert to-hf": (27, 435, 925, 1221, 1282, 1985, 2630),
    "extrapolate": (81,),
    "report": (1064,),
}


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_one_sentence(name: str, tmp_path: Path) -> None:
    found = [
        f"python tests/fuzz/run.py --reader '{name}' --first {number} --number 1\n{fault}"
        for number, fault in faults(name, DEFAULT_SEED, range(INPUTS), tmp_path)
        if fault is not None
    ]
    assert not found, "\n\n".join(found[:3])


@pytest.mark.parametrize("name", FAULTS)
def test_what_was_a_traceback_once_is_one_sentence(name: str, tmp_path: Path) -> None:
    found = [
        fault
        for number in FAULTS[name]
        for _, fault in faults(name, SEED_OF_FAULTS, range(number, number + 1), tmp_path / str(number))
    ]
    assert not any(found), "\n\n".join(fault for fault in found if fault)


@pytest.mark.parametrize("name", [name for name in READERS if name != "overrides"])
def test_sound_files_are_read(name: str, tmp_path: Path) -> None:
    """Else everything would be refused at its door, and nothing behind it tried."""
    reader = READERS[name]
    (tmp_path / "in").mkdir()
    reader.make(tmp_path / "in")
    if reader.pack is not None:
        reader.pack(tmp_path / "in", Random(5))  # which leaves the archive as it is
    words = list(reader.command(tmp_path / "in", tmp_path / "out", Random(0)))
    sound = {1} if name == "status" else {0}  # that run has failed
    assert outcome(words, frozenset(sound))[1] is None


def raise_value_error(words: list[str]) -> int:
    raise ValueError("a bug")


def loop(words: list[str]) -> int:
    while True:
        pass


def fill_memory(words: list[str]) -> int:
    return len(bytearray(3 << 30))


def print_escape(words: list[str]) -> int:
    print("\x1b[31m")
    return 0


def say_nothing(words: list[str]) -> int:
    return 2


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (raise_value_error, "ValueError: a bug"),
        (loop, "s of CPU time, at"),
        (fill_memory, "MemoryError"),
        (print_escape, r"shows '\x1b'"),
        (say_nothing, "exit code 2 without an error"),
        (lambda words: 1, "exit code 1"),
    ],
)
def test_fault_of_a_command_is_found(command: object, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trial.main", command)
    monkeypatch.setattr("trial.CPU_LIMIT_S", 0.5)
    assert told in (outcome(["x"], frozenset({0, 2}))[1] or "")


def test_what_a_failed_command_leaves_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sound").mkdir()
    (tmp_path / "sound" / "a.json").write_text("{}")

    def leave(words: list[str]) -> int:
        Path(words[-1] + ".incomplete").mkdir()
        sys.stderr.write("error: no\n")
        return 2

    monkeypatch.setattr("trial.main", leave)
    reader = READERS["convert from-hf"]
    told = run_trial(reader, tmp_path / "sound", tmp_path / "scratch", Random(0))
    assert (told is not None and "left behind: in.incomplete" in told) or "out.incomplete" in str(told)
    assert not (tmp_path / "scratch").exists()


def test_same_seed_does_the_same_damage(tmp_path: Path) -> None:
    def damaged(place: Path) -> Iterator[bytes]:
        place.mkdir()
        for name in ("a.json", "b.yaml", "c.jsonl"):
            (place / name).write_text('{"a": [1, {"b": "c"}]}\n')
        for number in range(50):
            damage(place, Random(number))
        yield from (path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file())

    assert list(damaged(tmp_path / "one")) == list(damaged(tmp_path / "other"))


def test_escapes_are_told_from_text() -> None:
    assert [is_escape(character) for character in "\x1b\x00\u202e\u2066\x9b\x7f"] == [True] * 6
    assert not any(map(is_escape, "a\n\té語\N{GRINNING FACE}"))
