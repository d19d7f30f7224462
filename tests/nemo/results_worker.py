"""The commands of docs/results.md one after the other, each in a fork of a process that has NeMo imported already.

usage: results_worker.py BENCHMARKS COMMANDS.json    a list of commands, each a list of words; in the working folder

What starts anew in every process costs three minutes in all, and is tested elsewhere. Of the quickstart, whose size is
no option, models have one layer and a stage takes one step.
"""

import importlib
import json
import os
import runpy
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from nemo_hs2pref import laptop, quickstart
from nemo_hs2pref.cli import main, reproduce
from nemo_hs2pref.errors import HS2PrefError
from nemo_hs2pref.runtime.platform import machine

ONE_STEP = ("trainer.rm.max_steps=1", "trainer.rm.limit_val_batches=1")
FIRST_BASE = Path("out/quickstart/base")
LINES = 24  # of a file of pairs that is made to be scored


def forked(do: Callable[[], int]) -> int:
    """The exit code of `do` in a child process."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        code = do()
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def command(words: Sequence[str]) -> None:
    """As laptop.command, which starts a new process; a second quickstart gets a copy of the first one's base."""
    print(f"\n$ {laptop.shown(words)}", flush=True)
    if words[:2] == ["convert", "from-hf"] and FIRST_BASE.exists():
        shutil.copytree(FIRST_BASE, words[3])
        return
    if forked(lambda: main(list(words))):
        raise HS2PrefError(f"`hs2pref {words[0]}` failed")


def do(benchmarks: Path, words: list[str]) -> int:
    """Run one command of the document."""
    program, *rest = words
    if program == "hs2pref":
        return main(rest)
    script = benchmarks / Path(rest[0]).name
    sys.argv = [str(script), *rest[1:]]
    runpy.run_path(str(script), run_name="__main__")
    if script.stem == "llmbar_pairs":
        lines = Path(rest[2]).read_text().splitlines(keepends=True)
        Path(rest[2]).write_text("".join(lines[:: len(lines) // LINES]))
    return 0


def run(benchmarks: Path, commands: list[list[str]]) -> None:
    machine.prepare()
    for name in ("runtime.run.build", "scoring.nemo"):
        importlib.import_module(f"nemo_hs2pref.{name}")  # heavy: NeMo, once for all

    laptop.LAYERS = 1
    quickstart.STAGE_1, quickstart.STAGE_2 = (*quickstart.STAGE_1, *ONE_STEP), (*quickstart.STAGE_2, *ONE_STEP)
    quickstart.command = reproduce.command = command
    for words in commands:
        started = time.monotonic()
        print(f"\n### {' '.join(words)}", flush=True)
        if code := forked(lambda words=words: do(benchmarks, words)):
            sys.exit(f"exit code {code}: {' '.join(words)}")
        print(f"### {time.monotonic() - started:.1f} s", flush=True)


if __name__ == "__main__":
    run(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()))
