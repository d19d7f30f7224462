"""What a check is and what it finds."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "skipped", "warning", "failed"]
SEVERITY: tuple[Status, ...] = ("skipped", "ok", "warning", "failed")


@dataclass(frozen=True)
class Finding:
    """One thing that a check saw."""

    status: Status
    text: str
    hint: str = ""  # what to do about it


def ok(text: str) -> Finding:
    return Finding("ok", text)


def skipped(why: str) -> Finding:
    return Finding("skipped", why)


def warning(text: str, hint: str) -> Finding:
    """The run may work all the same."""
    return Finding("warning", text, hint)


def failed(text: str, hint: str) -> Finding:
    """The run cannot work, or its results would be wrong."""
    return Finding("failed", text, hint)


@dataclass(frozen=True)
class Check:
    """A question with a time limit."""

    name: str
    look: Callable[[], Iterator[Finding]]
    limit_s: float
    if_stuck: str  # hint where the limit is reached
    first_node_only: bool = False  # the answer is the same on all nodes, and costs reading


@dataclass(frozen=True)
class Result:
    """The answer: as bad as the worst that was found, in the words of all that is as bad."""

    name: str
    status: Status
    seconds: float
    text: str
    hint: str
    is_stuck: bool = False  # no answer within the limit

    @classmethod
    def of(cls, name: str, findings: Iterable[Finding], seconds: float) -> "Result":
        findings = [*findings] or [skipped("nothing to look at")]
        worst = max(findings, key=lambda finding: SEVERITY.index(finding.status)).status
        said = [finding for finding in findings if finding.status == worst]
        hints = dict.fromkeys(finding.hint for finding in said if finding.hint)
        return cls(name, worst, round(seconds, 2), "; ".join(f.text for f in said), "; ".join(hints))
