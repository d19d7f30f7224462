"""Examples as the texts that a model reads, and their tokens."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice, takewhile

from nemo_hs2pref.data.inspection.kinds import Example, Side
from nemo_hs2pref.data.preparation.length import TEXTS_AT_ONCE, load_tokenizer
from nemo_hs2pref.data.records import Message
from nemo_hs2pref.data.templates import DEFAULT_TEMPLATE, named, render

PROBE = (Message("user", "?"), Message("assistant", "!"))


class Renderer:
    """A template, and a tokenizer if there is one.

    Raises, before anything is read:
        ConfigError: unknown template, or one that the tokenizer cannot take.
        DataError: the tokenizer cannot be loaded.
        InstallationError: a tokenizer without the package `transformers`.
    """

    def __init__(self, template: str = DEFAULT_TEMPLATE, tokenizer: str | None = None) -> None:
        self.template = template
        self._tokenizer = load_tokenizer(tokenizer) if tokenizer else None
        render(PROBE, template, self._tokenizer)
        if self._tokenizer is not None:
            named(template).refuse_unfit(self._tokenizer)

    @property
    def counts_tokens(self) -> bool:
        return self._tokenizer is not None

    def texts(self, example: Example) -> dict[str, str]:
        """The text of each side by its label; of a prompt alone, what stands before a response to it.

        DataError where the template refuses the conversation.
        """
        if not example.sides:
            return {"prompt": self._head(example)}
        if not example.prompt:
            return {side.label: side.text for side in example.sides}
        return {
            side.label: render((*example.prompt, Message("assistant", side.text)), self.template, self._tokenizer)
            for side in example.sides
        }

    def parts(self, example: Example) -> tuple[str, dict[str, str], dict[str, int]]:
        """What all sides share, the rest of each side's text, and the tokens of its whole text where they are counted.

        DataError where the template refuses the conversation.
        """
        texts = self.texts(example)
        head = self._head(example) if example.prompt and example.sides else ""
        counts = self.tokens(texts.values()) if self.counts_tokens else ()
        return head, {label: text[len(head) :] for label, text in texts.items()}, dict(zip(texts, counts, strict=False))

    def _head(self, example: Example) -> str:
        """What two answers with nothing in common share: the text of the prompt, whatever the template."""
        answered = replace(example, sides=(Side("a", "A"), Side("b", "B")))
        letters = zip(*self.texts(answered).values(), strict=False)
        return "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], letters))

    def tokens(self, texts: Iterable[str]) -> Iterator[int]:
        """How many each text has; the tokenizer adds none of its own, as in training."""
        remaining = iter(texts)
        while batch := list(islice(remaining, TEXTS_AT_ONCE)):
            assert self._tokenizer is not None, "a renderer without a tokenizer counts none"
            yield from map(len, self._tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"])
