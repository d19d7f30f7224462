"""One damaged input, given to one command in this process, and what is demanded of it.

Demanded are: an exit code that the command documents and no exception; where it is not 0, one error sentence and
nothing written; text without terminal escapes; bounded time and memory.
"""

import io
import resource
import shutil
import signal
import sys
import traceback
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from random import Random

from mutations import damage

from nemo_hs2pref.cli import main

CPU_LIMIT_S = 20  # of an input that costs milliseconds; CPU time, so that a busy machine proves nothing
MEMORY_LIMIT = 2 << 30  # bytes above what the process has at the start
BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


@dataclass(frozen=True)
class Reader:
    """A command, and the sound files that it reads."""

    make: Callable[[Path], None]  # writes them into the folder that it is given
    command: Callable[[Path, Path, Random], Sequence[str]]  # (that folder, a place to write, chance) -> words
    files: Sequence[str] = ("*",)  # those that are damaged; nothing for a command whose words are
    exit_codes: frozenset[int] = frozenset({0, 2})
    pack: Callable[[Path, Random], None] | None = None  # what is done to the damaged files before the command


class TooLong(BaseException):
    """The CPU time is used up; no `except Exception` on the way may take it for a fault of the file."""


def run_trial(reader: Reader, sound: Path, scratch: Path, chance: Random) -> str | None:
    """The fault of this input, None where all is well. `scratch` is a folder that does not exist; it is removed."""
    shutil.copytree(sound, scratch / "in")
    try:
        done = damage(scratch / "in", chance, reader.files) if reader.files else "words"
        if reader.pack is not None:
            reader.pack(scratch / "in", chance)
        words = list(reader.command(scratch / "in", scratch / "out", chance))
        before = {path.name for path in scratch.iterdir()}
        code, fault = outcome(words, reader.exit_codes)
        written = {"out"} if code == 0 else set[str]()
        if fault is None and (left := {path.name for path in scratch.iterdir()} - before - written):
            fault = f"left behind: {', '.join(sorted(left))}"
        return fault and f"{done}\n{fault}"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def outcome(words: list[str], exit_codes: frozenset[int]) -> tuple[object, str | None]:
    """Exit code and fault of a command."""
    code, said, fault = called(words)
    return code, fault or fault_in(code, *said, exit_codes)


def called(words: list[str]) -> tuple[object, tuple[str, str], str | None]:
    """Exit code, standard output and error, and what it raised or used too much of."""
    out, err = io.StringIO(), io.StringIO()
    code, fault = None, None
    try:
        with redirect_stdout(out), redirect_stderr(err), bounded():
            code = main(words)
    except SystemExit as end:  # argparse's
        code = end.code
    except TooLong:
        fault = f"more than {CPU_LIMIT_S} s of CPU time, at\n{traceback.format_exc(limit=-3)}"
    except BaseException:
        fault = traceback.format_exc(limit=-12)
    finally:
        forget()
    return code, (out.getvalue(), err.getvalue()), fault


def fault_in(code: object, shown: str, said: str, exit_codes: frozenset[int]) -> str | None:
    """What is wrong with how a command ended: with its exit code, or with what stands on its output and its error."""
    if code not in exit_codes:
        return f"exit code {code}: {said[-500:]}"
    if escape := next((character for character in shown + said if is_escape(character)), None):
        return f"shows {escape!r}: {(shown + said)!r:.500}"
    if code == 2 and "error: " not in said and not shown:
        return f"exit code 2 without an error: {said[-500:]}"
    if "Traceback" in said:
        return f"a traceback: {said[-2000:]}"
    return None


def is_escape(character: str) -> bool:
    """What changes how a terminal shows the text around it."""
    return character in BIDIRECTIONAL or (unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t\r")


@contextmanager
def bounded() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooLong

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGPROF, signal.SIGTERM)}
    signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY_LIMIT, hard))
    signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        for number, handler in handlers.items():  # `data prepare` sets its own
            signal.signal(number, handler)


def forget() -> None:
    """What a process keeps between commands."""
    if view := sys.modules.get("nemo_hs2pref.checkpoint.importers.view"):
        view.view.cache_clear()
        view.remove_views()
