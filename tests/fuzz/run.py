"""Fuzz the readers: python tests/fuzz/run.py [--reader NAME ...] [--seed S] [--first N] [--number N] [--minutes M]

Each reader is fuzzed in a process of its own, so that an input that kills it is told like every other fault. A line a
reader says how many inputs it took and how many faults there were; each kind of fault is shown once, with the command
that repeats it.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
DEFAULT_SEED = 20260101
SILENT_S = 300  # a worker that takes no further input for so long hangs


def faults(name: str, seed: int, numbers: range, scratch: Path) -> Iterator[tuple[int, str | None]]:
    """(number of the input, its fault or None), in this process."""
    from readers import READERS  # heavy
    from trial import run_trial

    reader, sound = READERS[name], scratch / "sound"
    sound.mkdir(parents=True)
    reader.make(sound)
    for number in numbers:
        yield number, run_trial(reader, sound, scratch / str(number), Random(f"{seed}/{name}/{number}"))


def work(name: str, seed: int, numbers: range, found: Path) -> None:
    """As a worker: a line for each input before it is taken, and one with its fault."""
    with found.open("a") as file, tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        for number, fault in faults(name, seed, numbers, Path(scratch)):
            file.write(json.dumps([number, fault]) + "\n")
            file.flush()


def worked(name: str, seed: int, numbers: range, deadline: float) -> Iterator[tuple[int, str | None]]:
    """What workers find; a worker that dies or hangs has done so on the input after the last one that it told of."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        found = Path(folder) / "found"
        found.touch()
        with found.open() as lines:
            while numbers and time.monotonic() < deadline:
                words = ["--worker", str(found), "--reader", name, "--seed", str(seed)]
                span = ["--first", str(numbers.start), "--number", str(len(numbers))]
                worker = subprocess.Popen(
                    [sys.executable, str(HERE / "run.py"), *words, *span],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                heard = time.monotonic()
                while True:
                    ended = worker.poll() is not None
                    for line in lines:
                        number, fault = json.loads(line)
                        numbers, heard = range(number + 1, numbers.stop), time.monotonic()
                        yield number, fault
                    if ended or time.monotonic() > deadline or time.monotonic() - heard > SILENT_S:
                        break
                    time.sleep(0.2)
                worker.kill()
                said = worker.communicate()[1]
                if time.monotonic() < deadline and numbers:
                    yield numbers.start, f"the process ended with {worker.returncode}: {said[-1500:]}"
                    numbers = numbers[1:]


def kind_of(fault: str) -> str:
    """What faults of one kind have in common: the place and the exception, or how the sentence begins."""
    lines = fault.splitlines()
    if "Traceback" not in fault:
        return re.sub(
            r"0x[0-9a-f]+|[0-9]+|/\S+", "N", lines[min(1, len(lines) - 1)][:40]
        )  # a process that died says one line
    places = [line for line in lines if line.startswith("  File ") and "/nemo_hs2pref/" in line]
    last = next(line for line in reversed(lines) if line[:1] not in ("", " "))
    return f"{(places or [''])[-1]} {last.split(':')[0]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", action="append", help="default: all")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--number", type=int, default=100, help="inputs a reader")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="at most so many for all readers together")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    from readers import READERS

    numbers = range(args.first, args.first + args.number)
    if args.worker:
        work(args.reader[0], args.seed, numbers, args.worker)
        return 0
    total, bad = 0, 0
    names: Sequence[str] = args.reader or list(READERS)
    end = time.monotonic() + 60 * args.minutes
    for place, name in enumerate(names):
        share = (end - time.monotonic()) / (len(names) - place)
        kinds: Counter[str] = Counter()
        taken, started = 0, time.monotonic()
        for number, fault in worked(name, args.seed, numbers, started + share):
            taken += 1
            if fault is not None and not kinds[kind_of(fault)]:
                again = f"python tests/fuzz/run.py --reader '{name}' --seed {args.seed} --first {number} --number 1"
                print(f"--- {again}\n{fault}\n", flush=True)
            if fault is not None:
                kinds[kind_of(fault)] += 1
        seconds = time.monotonic() - started
        print(f"{name}: {taken} inputs, {kinds.total()} faults of {len(kinds)} kinds, {seconds:.0f} s", flush=True)
        total, bad = total + taken, bad + kinds.total()
    print(f"seed {args.seed}: {total} inputs, {bad} faults")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
