"""Runs that are killed at random moments, and resumed, against one that never was: python tests/soak/kills.py --help

Killed with SIGKILL are all processes, one rank, or the launcher; at a random moment of the run, or while a checkpoint
is written. Afterwards nothing may be left running, and the run, started again, must end with the metrics and with the
bytes of the checkpoint of a run that was never stopped. A run may be killed several times before it is let through.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from random import Random
from typing import Any

import psutil
import torch

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "nemo")]

from test_failures import command, is_alive  # noqa: E402

from nemo_hs2pref.checkpoint.file_list import FILE_LIST  # noqa: E402
from nemo_hs2pref.checkpoint.layout import MANIFEST  # noqa: E402
from nemo_hs2pref.checkpoint.torch_dist.index import COMMON, INDEX, read_metadata  # noqa: E402

STEPS = 8
TRAINERS = ("rm",)  # every trainer that there is
LAYOUTS = ("single", "tp2", "dp2")
WHO = ("all", "one rank", "launcher")
DEFAULT_SEED = 20260101
LIMIT_S = 900  # of one start
ENDED_S = 60  # from a kill to the end of the last process
TIMES = ("step_s", "tokens_per_s")  # of metrics.jsonl: those of no two runs are equal


class Fault(Exception):
    """What a kill did that it must not."""


def words_of(trainer: str, layout: str, run: Path, inputs: Path) -> list[str]:
    assert trainer == "rm"
    given = command(run, inputs / "base", inputs / "data")
    settings = (f"max_steps={STEPS}", "val_check_interval=3", "save_interval=1")
    return [
        *(f"parallel={layout}" if word.startswith("parallel=") else word for word in given),
        *(f"trainer.rm.{setting}" for setting in settings),
    ]


def make_inputs(folder: Path) -> None:
    from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf
    from nemo_hs2pref.checkpoint.small_models.tiny import write_llama_tiny
    from nemo_hs2pref.cli import main

    convert_from_hf(write_llama_tiny(folder / "hf"), folder / "base")
    limit = ["--max-length", "1000", "--tokenizer", str(folder / "base" / "tokenizer")]
    with redirect_stdout(io.StringIO()):
        assert main(["data", "prepare", "--source", "sample", "--out", str(folder / "data"), *limit]) == 0


def start(words: Sequence[str], log: Path) -> psutil.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("w") as file:
        program = [sys.executable, "-m", "nemo_hs2pref.cli", *words]
        return psutil.Popen(program, stdout=file, stderr=subprocess.STDOUT, env=environment, start_new_session=True)


def let_through(words: Sequence[str], log: Path) -> float:
    """Seconds to its end."""
    started = time.monotonic()
    process = start(words, log)
    try:
        code = process.wait(LIMIT_S)
    except psutil.TimeoutExpired:
        end(process)
        raise Fault(f"hangs for {LIMIT_S} s: {tail(log)}") from None
    if code:
        raise Fault(f"exit code {code} of a start that nobody killed: {tail(log)}")
    return time.monotonic() - started


def kill(words: Sequence[str], run: Path, log: Path, who: str, seconds: float | None, saves: int) -> str:
    """Start, kill after `seconds`, or in the save number `saves`; returns what the run was doing."""
    process = start(words, log)
    started, seen, was_saving = time.monotonic(), 0, False
    while process.poll() is None and time.monotonic() - started < LIMIT_S:
        is_saving = any((run / "checkpoints").glob("*.incomplete"))
        seen, was_saving = seen + (is_saving and not was_saving), is_saving
        if time.monotonic() - started >= seconds if seconds is not None else is_saving and seen == saves:
            break
        time.sleep(0.002)
    family = family_of(process)
    if process.poll() is not None or time.monotonic() - started >= LIMIT_S:
        end(process)
        return "had ended before the kill"
    ranks = [each for each in family[1:] if is_rank(each)]
    targets = {"all": family, "one rank": ranks[-1:] or [process], "launcher": [process]}[who]
    for each in targets:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    deadline = time.monotonic() + ENDED_S
    while alive := [each for each in family if (is_alive(each) and each.pid != process.pid) or process.poll() is None]:
        if time.monotonic() > deadline:
            left = "; ".join(map(shown, alive))
            for each in alive:
                each.kill()
            raise Fault(f"{ENDED_S} s after {who} was killed there still run: {left}")
        time.sleep(0.05)
    state = run / "run_state.json"
    phase = json.loads(state.read_text()) if state.is_file() else {"phase": "before its first step", "step": 0}
    return f"{'saving' if was_saving else phase['phase']} at step {phase['step']}"


def is_rank(process: psutil.Process) -> bool:
    try:
        return "RANK" in process.environ()
    except psutil.Error:
        return False


def shown(process: psutil.Process) -> str:
    try:
        return f"{process.status()} {' '.join(process.cmdline())[:80]}"
    except psutil.Error as error:
        return str(error)


def end(process: psutil.Popen) -> None:
    for each in family_of(process):
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


def family_of(process: psutil.Popen) -> list[psutil.Process]:
    """It, and what it has started; itself alone where it has ended."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return [process]


def tail(log: Path) -> str:
    return log.read_text(errors="replace")[-1500:]


def result_of(run: Path) -> Mapping[str, str]:
    """What must be equal: the lines of metrics.jsonl without their times, the bytes of the checkpoint's files.

    Of four kinds of files what they say, since their bytes differ between two runs that nobody killed, or may. The
    manifest names the commit of the code, which may change while this goes on for hours. torch gives each index a
    random number, and its pieces stand in the order in which the writers ended. Pickles of equal values differ in
    which of these are one object, such as a text that was read and one that the code holds. The list of hashes follows
    from the rest.
    """
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    lines = [json.dumps({key: value for key, value in row.items() if key not in TIMES}) for row in rows]
    last = run / "checkpoints" / "last"
    files = {path.relative_to(last).as_posix(): path for path in sorted(last.rglob("*")) if path.is_file()}
    hashes = {name: hashlib.sha256(content_of(path)).hexdigest() for name, path in files.items() if name != FILE_LIST}
    return {"metrics.jsonl": "\n".join(lines), **hashes}


def content_of(file: Path) -> bytes:
    if file.name == MANIFEST:
        return repr({key: value for key, value in json.loads(file.read_text()).items() if key != "git_commit"}).encode()
    if file.name == INDEX:
        index = read_metadata(file.parent)
        places = sorted(map(repr, index.storage_data.items()))
        return repr((index.state_dict_metadata, places)).encode()
    if file.name == COMMON:
        return repr(whole(torch.load(file, weights_only=True))).encode()
    return file.read_bytes()


def whole(value: Any) -> Any:
    """For repr(), which leaves out most of a tensor."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().flatten().view(torch.uint8).tolist()
    if isinstance(value, Mapping):
        return {key: whole(each) for key, each in value.items()}
    return [whole(each) for each in value] if isinstance(value, list | tuple) else value


def try_once(
    words: list[str], run: Path, log: Path, expected: Mapping[str, str], usual_s: float, chance: Random
) -> str:
    """One run, killed once to three times; what was done. Raises Fault."""
    shutil.rmtree(run, ignore_errors=True)
    told: list[str] = []
    for _ in range(chance.choices((1, 2, 3), (6, 3, 1))[0]):
        who, in_save = chance.choice(WHO), chance.random() < 0.5
        seconds = None if in_save else chance.uniform(0.3, 1.0) * usual_s
        told.append(f"{who} killed, {kill(words, run, log, who, seconds, chance.randrange(1, 4))}")
    let_through(words, log)
    found = result_of(run)
    if other := [name for name in {**expected, **found} if expected.get(name) != found.get(name)]:
        raise Fault(f"after {'; '.join(told)}: other than without a kill: {', '.join(other)}")
    return "; ".join(told)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--first", type=int, default=0, help="number of the first run")
    parser.add_argument("--number", type=int, default=10, help="runs of each trainer and layout")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="at most so many")
    parser.add_argument("--trainer", choices=TRAINERS, action="append", help="default: all")
    parser.add_argument("--layout", choices=LAYOUTS, action="append", help="default: all")
    args = parser.parse_args(arguments)
    deadline, counts, faults = time.monotonic() + 60 * args.minutes, Counter[str](), 0
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        inputs, run, log = Path(folder) / "inputs", Path(folder) / "run", Path(folder) / "log"
        inputs.mkdir()
        make_inputs(inputs)
        for trainer in args.trainer or TRAINERS:
            for layout in args.layout or LAYOUTS:
                words = words_of(trainer, layout, run, inputs)
                usual_s = let_through(words, log)
                expected = result_of(run)
                print(f"{trainer}, {layout}: never killed, {usual_s:.0f} s, {len(expected)} files", flush=True)
                for number in range(args.first, args.first + args.number):
                    if time.monotonic() > deadline:
                        break
                    chance = Random(f"{args.seed}/{trainer}/{layout}/{number}")
                    try:
                        told = try_once(words, run, log, expected, usual_s, chance)
                        print(f"{trainer}, {layout}, {number}: equal after {told}", flush=True)
                    except Fault as fault:
                        faults += 1
                        again = f"--seed {args.seed} --trainer {trainer} --layout {layout} --first {number} --number 1"
                        print(f"--- python tests/soak/kills.py {again}\n{fault}", flush=True)
                        told = ""
                    counts[f"{trainer}, {layout}"] += 1
                    counts["kills"] += told.count(" killed, ") - told.count("had ended")
                    counts["kills in saves"] += told.count("saving")
    summary = ", ".join(f"{count} {name}" for name, count in counts.items())
    print(f"seed {args.seed}: runs and kills: {summary}; {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
