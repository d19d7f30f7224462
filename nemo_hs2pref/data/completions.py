"""What is completed, how, what ends it, and what comes of it: tokens, which no template knows of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TokenPrompt:
    """What is completed, as the model reads it."""

    id: str  # random numbers depend on it
    tokens: Sequence[int]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; see functional.sampling.draw_tokens."""

    max_new_tokens: int
    samples: int = 1  # of each prompt
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Ends:
    """What ends a completion: a token, or a text, both of which belong to it."""

    tokens: frozenset[int]
    texts: tuple[str, ...] = ()
    decode: Callable[[Sequence[int]], str] = field(default=lambda tokens: "", repr=False)

    def is_reached(self, tokens: Sequence[int]) -> bool:
        """By the last token of a completion."""
        if tokens[-1] in self.tokens:
            return True
        if not self.texts:
            return False
        # a text of n characters is at most n tokens of bytes, and one of the token before them
        text = self.decode(tokens[-max(len(end.encode()) for end in self.texts) - 1 :])
        return any(end in text for end in self.texts)


@dataclass
class Completion:
    """One sample of a prompt."""

    tokens: list[int] = field(default_factory=list[int])
    log_probs: list[float] = field(default_factory=list[float])  # as the sampler saw them
    is_finished: bool = False  # by what ends it, and not by max_new_tokens
