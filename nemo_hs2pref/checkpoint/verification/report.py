"""What a verification found."""

from dataclasses import dataclass, field


@dataclass
class Report:
    """What was found. problems: a sentence each, of a file its path in the folder first; none: the checkpoint is whole.

    notes: what could not be compared, and why.
    """

    path: str
    files: int = 0
    bytes: int = 0
    tensors: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
