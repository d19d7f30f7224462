"""All checks at once, each in a forked process that is killed at its limit; this process waits for nothing else.

Threads cannot be given up: one that waits for a dead file server keeps its process from ending. A forked process has
the parsed configuration, starts in milliseconds and may import torch without slowing the others.
"""

import json
import os
import select
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import NoReturn

from nemo_hs2pref.errors import HS2PrefError
from nemo_hs2pref.preflight.check import Check, Finding, Result, failed

BLOCK_BYTES = 65536


def run(checks: Sequence[Check]) -> Iterator[Result]:
    """Start all; yield their results in their order, each as soon as it and those before it are known."""
    started = [start(check) for check in checks]
    try:
        for running in started:
            yield running.result()
    finally:
        for running in started:
            running.kill()


@dataclass(frozen=True)
class Running:
    """A check in its process."""

    check: Check
    pid: int
    pipe: int
    began: float

    def result(self) -> Result:
        """Wait until the check is done or its time is up."""
        said, is_done = self._read()
        seconds = time.monotonic() - self.began
        if not is_done:
            self.kill()
            stuck = failed(f"no answer in {self.check.limit_s:g} s, given up", self.check.if_stuck)
            return replace(Result.of(self.check.name, [stuck], seconds), is_stuck=True)
        if not said:
            ended = failed(f"its process ended without an answer, {self._ended_by()}", "was there too little memory?")
            return Result.of(self.check.name, [ended], seconds)
        answer = json.loads(said)
        findings = [Finding(**finding) for finding in answer["findings"]]
        return Result.of(self.check.name, findings, answer["seconds"])

    def _read(self) -> tuple[bytes, bool]:
        """What the process wrote, and whether that was all of it."""
        said, deadline = b"", self.began + self.check.limit_s
        while True:
            ready, _, _ = select.select([self.pipe], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return said, False
            block = os.read(self.pipe, BLOCK_BYTES)
            if not block:
                return said, True
            said += block

    def _ended_by(self) -> str:
        with suppress(ChildProcessError):
            code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            return f"signal {-code}" if code < 0 else f"exit code {code}"
        return "unknown how"

    def kill(self) -> None:
        """The process and what it started. One that the kernel does not let go stays behind; nobody waits for it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)


def start(check: Check) -> Running:
    read, write = os.pipe()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        answer(check, write)
    os.close(write)
    with suppress(PermissionError, ProcessLookupError):
        os.setpgid(pid, pid)  # here too: whoever comes first
    return Running(check, pid, read, began)


def answer(check: Check, pipe: int) -> NoReturn:
    """In the new process: look, write what was found, end. What libraries print meanwhile is for nobody."""
    began = time.monotonic()
    with suppress(PermissionError):
        os.setpgid(0, 0)
    silence()
    try:
        findings = [*check.look()]
    except HS2PrefError as error:
        findings = [failed(str(error), "")]
    except OSError as error:
        findings = [failed(str(error), check.if_stuck)]
    except Exception as error:
        findings = [failed(f"{type(error).__name__}: {error}", "a fault of the check itself, or of this installation")]
    said = {"seconds": time.monotonic() - began, "findings": [asdict(finding) for finding in findings]}
    with os.fdopen(pipe, "w") as stream:
        json.dump(said, stream)
    os._exit(0)


def silence() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
