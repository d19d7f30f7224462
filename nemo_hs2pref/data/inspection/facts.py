"""What is counted of a data file, and what a path holds."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nemo_hs2pref.data.doubts import IN_ROWS, Doubts
from nemo_hs2pref.data.inspection.kinds import Example
from nemo_hs2pref.data.inspection.tally import Lengths, Values
from nemo_hs2pref.data.jsonl import Row

TOKEN_LIMITS = (1024, 2048, 4096, 8192)
FAULTS_KEPT = 5


@dataclass
class FileFacts:
    """What one file holds."""

    name: str
    promised: Row = field(default_factory=dict[str, Any])  # the manifest's entry; empty where there is none
    kind: str = ""  # empty where the file has no rows, or none of a known kind,
    unknown_keys: tuple[str, ...] = ()  # and then those of its first row
    problem: str = ""  # why it could not be read, or not to its end
    rows: int = 0  # lines that are not blank
    size_bytes: int = 0
    sha256: str = ""
    malformed: int = 0
    faults: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])  # (line, fault) of the first few
    unusable: Counter[str] = field(default_factory=Counter[str])  # rows that `data prepare` would drop, by reason
    ignored: Counter[str] = field(default_factory=Counter[str])  # key that is not read -> rows that have it
    several_turns: int = 0
    strengths: Counter[int] = field(default_factory=Counter[int])
    unequal: int = 0  # pairs with a preferred side and responses of different lengths,
    longer_preferred: int = 0  # and those of them whose longer one is preferred
    characters: dict[str, Lengths] = field(default_factory=dict[str, Lengths])  # of the prompt and of each side
    ratings: dict[str, dict[str, Values]] = field(default_factory=dict[str, dict[str, Values]])  # side -> attribute
    token_rows: int = 0  # random rows that `tokens` are of
    tokens: dict[str, Lengths] = field(default_factory=dict[str, Lengths])  # of each side's rendered text
    refused: int = 0  # random rows that the template refused,
    refusal: str = ""  # and why the first of them
    doubts: Doubts = field(default_factory=lambda: Doubts(IN_ROWS))  # of single rows
    samples: list[tuple[int, Example]] = field(default_factory=list[tuple[int, Example]])  # (line, row)

    @property
    def usable(self) -> int:
        return self.rows - self.malformed - self.unusable.total()

    @property
    def is_changed(self) -> bool:
        """The file is not the one that its manifest describes."""
        return "sha256" in self.promised and self.promised["sha256"] != self.sha256

    @property
    def is_sound(self) -> bool:
        return not (self.malformed or self.problem or self.is_changed)

    def add(self, example: Example) -> None:
        self.several_turns += example.has_several_turns()
        if example.prompt:
            self._add_length("prompt", sum(len(message.content) for message in example.prompt))
        for side in example.sides:
            self._add_length(side.label, len(side.text))
            for name, value in side.ratings.items():
                self.ratings.setdefault(side.label, {}).setdefault(name, Values()).add(value)
        if example.strength is not None:
            self.strengths[example.strength] += 1
        if example.better is not None:
            self._compare([len(side.text) for side in example.sides], example.better)

    def add_fault(self, number: int, fault: str) -> None:
        self.malformed += 1
        if len(self.faults) < FAULTS_KEPT:
            self.faults.append((number, fault))

    def add_tokens(self, label: str, count: int) -> None:
        self.tokens.setdefault(label, Lengths()).add(count)

    def _add_length(self, label: str, length: int) -> None:
        self.characters.setdefault(label, Lengths()).add(length)

    def _compare(self, lengths: Sequence[int], better: int) -> None:
        self.unequal += lengths[0] != lengths[1]
        self.longer_preferred += lengths[better] > lengths[1 - better]

    def to_json(self) -> dict[str, Any]:
        ratings = {of: {name: each.to_json() for name, each in rated.items()} for of, rated in self.ratings.items()}
        return {
            "name": self.name,
            "kind": self.kind or None,
            "unknown_keys": list(self.unknown_keys),
            "problem": self.problem or None,
            "rows": self.rows,
            "bytes": self.size_bytes,
            "sha256": self.sha256,
            "as_in_manifest": not self.is_changed if "sha256" in self.promised else None,
            "malformed": self.malformed,
            "first_faults": [{"line": number, "fault": fault} for number, fault in self.faults],
            "unusable": dict(sorted(self.unusable.items())),
            "ignored_keys": dict(self.ignored),
            "several_turns": self.several_turns,
            "strengths": {str(strength): self.strengths[strength] for strength in sorted(self.strengths)},
            "unequal_lengths": self.unequal,
            "longer_preferred": self.longer_preferred,
            "characters": {label: lengths.to_json() for label, lengths in self.characters.items()},
            "ratings": ratings,
            "token_rows": self.token_rows,
            "tokens": {label: lengths.to_json(TOKEN_LIMITS) for label, lengths in self.tokens.items()},
            "refused_by_template": self.refused,
            "doubts": self.doubts.to_json(),
        }


@dataclass(frozen=True)
class Facts:
    """What a path holds."""

    path: Path
    files: list[FileFacts]
    doubts: Doubts  # of the rows of all files together
    manifest: Row | None = None  # of a folder that a command of ours wrote
    missing: tuple[str, ...] = ()  # files that the manifest names and the folder lacks
    foreign: tuple[str, ...] = ()  # files that the folder has and the manifest does not name

    @property
    def is_sound(self) -> bool:
        """All rows can be read, and all files are there as their manifest says."""
        return not self.missing and all(file.is_sound for file in self.files)

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "is_prepared": self.manifest is not None,
            "missing": list(self.missing),
            "foreign": list(self.foreign),
            "doubts": self.doubts.to_json(),
            "files": [file.to_json() for file in self.files],
        }
