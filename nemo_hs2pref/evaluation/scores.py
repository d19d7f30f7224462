"""scores.jsonl: {"id", "reward", "attributes"?}; a pair has two rows, "<id>:chosen" and "<id>:rejected"."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nemo_hs2pref.data.fields import given, is_integer, nonempty
from nemo_hs2pref.data.jsonl import Row, collect, read_lines, write_jsonl
from nemo_hs2pref.data.records import PreferencePair
from nemo_hs2pref.errors import DataError

IDS_SHOWN = 3


def read_scores(path: str | Path) -> dict[str, float]:
    """Id -> reward. A reward may be NaN here: `require_scores` reports all of them together."""
    scores = collect(path, read_lines(path), _parse_score, identify=lambda score: score[0])
    return dict(scores)


def write_scores(path: str | Path, rows: Sequence[Row]) -> None:
    """Write scored rows; DataError names the first whose reward is not finite (JSON has no NaN)."""
    problem = _problem("not finite", (row["id"] for row in rows if not math.isfinite(row["reward"])))
    if problem:
        raise DataError(f"{path}: {problem} of {len(rows)} rewards; the model's weights or the precision are broken")
    write_jsonl(path, rows)


def require_scores(pairs: Sequence[PreferencePair], scores: Mapping[str, float]) -> None:
    """Both sides of every pair need one finite reward, and no reward may be left over.

    Raises DataError with the counts and the first ids: scores of another file or another run join in part only.
    """
    expected = [side.id for pair in pairs for side in pair.conversations()]
    problems = [
        _problem("missing", (identifier for identifier in expected if identifier not in scores)),
        _problem("not in the pairs", scores.keys() - set(expected)),
        _problem("not finite", (identifier for identifier, reward in scores.items() if not math.isfinite(reward))),
    ]
    if any(problems):
        raise DataError(
            f"scores do not fit the {len(pairs)} pairs: {'; '.join(filter(None, problems))}; "
            "score exactly this file of pairs again"
        )


def _problem(kind: str, ids: Iterable[str]) -> str:
    found = sorted(ids)
    shown = ", ".join(found[:IDS_SHOWN]) + (", ..." if len(found) > IDS_SHOWN else "")
    return f"{len(found)} {kind} ({shown})" if found else ""


def _parse_score(row: Row) -> tuple[str, float]:
    identifier, reward = nonempty(row, "id"), given(row, "reward")
    if not isinstance(reward, float) and not is_integer(reward):
        raise DataError(f'"reward" is {reward!r:.40}; expected a number')
    return identifier, float(reward)
