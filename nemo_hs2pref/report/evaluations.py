"""What `hs2pref evaluate` left in a folder: summary.json, and scored_pairs.jsonl where it is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemo_hs2pref.data.collecting import collect
from nemo_hs2pref.data.fields import given, integer, is_number, text
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.groups import prompt_numbers
from nemo_hs2pref.evaluation.outcome import SCORED_PAIRS, SUMMARY
from nemo_hs2pref.evaluation.rewardbench.sections import OVERALL
from nemo_hs2pref.evaluation.statistics import bootstrap_intervals
from nemo_hs2pref.evaluation.summary import read_summary

BENCHMARKS = {
    "preferences": "Preferences",
    "rewardbench": "RewardBench",
    "rewardbench2": "RewardBench 2",
}
# Each of its rows is one comparison of a chosen with a rejected response: chance is 50 %. RewardBench 2 takes the best
# of four or more, and its rows here are the hardest comparison of each prompt.
OF_PAIRS = ("preferences", "rewardbench")


@dataclass(frozen=True)
class ScoredPair:
    """A comparison with its two rewards. Texts are as they stand in the file: benchmarks have empty ones."""

    id: str
    prompt: str
    chosen: str
    rejected: str
    chosen_reward: float
    rejected_reward: float
    strength: int | None
    subset: str | None

    @property
    def margin(self) -> float:
        return self.chosen_reward - self.rejected_reward


@dataclass(frozen=True)
class Evaluation:
    """One folder; `pairs` are those in which a side was preferred, empty where the file is not there."""

    folder: Path
    name: str
    summary: Row
    pairs: Sequence[ScoredPair]

    @property
    def benchmark(self) -> str:
        return self.summary["benchmark"]

    @property
    def title(self) -> str:
        """`Preferences (pairs.validation.jsonl)`"""
        known = BENCHMARKS.get(self.benchmark, self.benchmark)
        source = (self.summary.get("input") or {}).get("name")
        return f"{known} ({Path(source).name})" if source else known

    @property
    def rows(self) -> tuple[str, ...]:
        """What was evaluated on: the benchmark, the hash of its file, or its name where there is no hash, and where
        long rows were left out, which are left."""
        given = self.summary.get("input") or {}
        left_out = self.summary.get("left_out_long") or 0
        kept = (str(left_out), *(pair.id for pair in self.pairs)) if left_out else ()
        return self.benchmark, str(given.get("sha256") or given.get("name") or ""), *kept

    @property
    def overall(self) -> float | None:
        """The benchmark's own score, where it has one and all its parts are there."""
        return (self.summary.get("sections") or {}).get(OVERALL, self.summary.get("overall"))

    @property
    def is_of_pairs(self) -> bool:
        return self.benchmark in OF_PAIRS

    @property
    def prompts(self) -> int:
        """Different ones; where neither its rows nor the summary tell, every pair has its own."""
        several = len({pair.prompt for pair in self.pairs})
        return self.summary.get("prompts") or several or int(self.summary["pairs"])

    def margins(self) -> NDArray[np.float64]:
        """[P] reward of the chosen less that of the rejected response."""
        return np.array([pair.margin for pair in self.pairs])

    def lengths(self) -> NDArray[np.int64]:
        """[P, 2] characters of the chosen and of the rejected response."""
        return np.array([[len(pair.chosen), len(pair.rejected)] for pair in self.pairs]).reshape(-1, 2)

    def interval(self, values: NDArray[np.float64]) -> tuple[float, float]:
        """95 % interval of the mean of [P] values; the pairs of a prompt are resampled together."""
        prompts = prompt_numbers([pair.prompt for pair in self.pairs])
        ((interval,),) = bootstrap_intervals(values[:, None], np.ones((len(values), 1), dtype=bool), prompts)
        return interval

    def rewards(self) -> NDArray[np.float64]:
        """[P, 2] of the chosen and of the rejected response."""
        return np.array([[pair.chosen_reward, pair.rejected_reward] for pair in self.pairs]).reshape(-1, 2)


def find_evaluations(folder: Path) -> list[Evaluation]:
    """All evaluations at or below `folder`, by their place; other files called summary.json are passed over."""
    found = [(path.parent, read_summary(path)) for path in sorted(folder.rglob(SUMMARY))]
    return [read_evaluation(place, summary, folder) for place, summary in found if summary is not None]


def read_evaluation(folder: Path, summary: Row, root: Path) -> Evaluation:
    """The folder's rows with their summary; its name is its place below `root`."""
    path = folder / SCORED_PAIRS
    pairs = collect(path, parse_scored_pair, identify=lambda pair: pair.id) if path.is_file() else []
    name = str(folder.relative_to(root)) if folder != root else folder.resolve().name
    return Evaluation(folder, name, summary, [pair for pair in pairs if pair.strength != 0])


def parse_scored_pair(row: Row) -> ScoredPair:
    """A row of scored_pairs.jsonl."""
    for key in ("chosen_reward", "rejected_reward"):
        if not is_number(given(row, key)):
            raise DataError(f'"{key}" is {row[key]!r:.40}; expected a finite number')
    return ScoredPair(
        id=str(given(row, "id")),
        prompt=prompt_text(given(row, "prompt")),
        chosen=str(given(row, "chosen")),
        rejected=str(given(row, "rejected")),
        chosen_reward=float(row["chosen_reward"]),
        rejected_reward=float(row["rejected_reward"]),
        strength=None if row.get("strength") is None else integer(row, "strength", 0, 3),
        subset=None if row.get("subset") is None else text(row, "subset"),
    )


def prompt_text(prompt: Any) -> str:
    """A prompt of one turn is its text; of several, each turn stands under its role."""
    if isinstance(prompt, str):
        return prompt
    turns = prompt if isinstance(prompt, list) else []  # pyright: ignore[reportUnknownVariableType] JSON
    if not turns or not all(isinstance(turn, dict) and {"role", "content"} <= turn.keys() for turn in turns):  # pyright: ignore[reportUnknownVariableType] JSON
        raise DataError(f'"prompt" is {prompt!r:.40}; expected text or a list of {{"role", "content"}}')
    if len(prompt) == 1:
        return str(prompt[0]["content"])
    return "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in prompt)
