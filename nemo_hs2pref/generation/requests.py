"""Prompts of a file as tokens, and tokens of the model as responses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nemo_hs2pref.data.completions import Completion, Ends, TokenPrompt
from nemo_hs2pref.data.faults import BadRows, RefusedRows, describe
from nemo_hs2pref.data.records import Message, Prompt
from nemo_hs2pref.data.templates import named, render, render_prompt
from nemo_hs2pref.data.templates.tokens import token_ids
from nemo_hs2pref.errors import DataError

SAMPLE = "Sure, 1."  # a response that no template writes in another way


def token_prompts(prompts: Sequence[Prompt], template: str, tokenizer: Any, max_tokens: int) -> list[TokenPrompt]:
    """Up to where the assistant's response begins.

    max_tokens: of a prompt. Raises RefusedRows for all rows that the template refuses or that are longer, ConfigError
    for a template that the tokenizer cannot take.
    """
    named(template).refuse_unfit(tokenizer)
    bad, reasons = BadRows(), dict[str, str]()
    texts: list[str] = []

    def refuse(prompt: Prompt, reason: str) -> None:
        bad.add(prompt.id, reason)
        reasons[prompt.id] = reason

    for prompt in prompts:
        try:
            texts.append(render_prompt(prompt.messages, template, tokenizer))
        except DataError as fault:
            texts.append("")
            refuse(prompt, str(fault))
    tokens = token_ids(texts, tokenizer)
    for prompt, row in zip(prompts, tokens, strict=True):
        if len(row) > max_tokens:
            refuse(
                prompt,
                f"{len(row)} tokens, more than the {max_tokens} that the model's positions leave beside "
                "--max-new-tokens",
            )
    if bad.count:
        raise RefusedRows(describe(bad.shown, bad.count), reasons)
    return [TokenPrompt(prompt.id, row) for prompt, row in zip(prompts, tokens, strict=True)]


def ends_of(tokenizer: Any, template: str, stops: Sequence[str] = ()) -> Ends:
    """What ends a response: the tokenizer's end of text, what the template writes behind a response, and `stops`."""
    tokens = {tokenizer.eos_token_id} - {None}
    texts = [*stops]
    for end in ends_of_turn(tokenizer, template):
        ids = token_ids([end], tokenizer)[0]
        if len(ids) == 1:
            tokens.add(ids[0])
        else:
            texts.append(end)
    return Ends(frozenset(tokens), tuple(texts), lambda ids: decoded(ids, tokenizer))


def ends_of_turn(tokenizer: Any, template: str) -> set[str]:
    """The markers that the template writes behind a response that a question follows, and behind the last one."""
    turns = [Message("user", "?"), Message("assistant", SAMPLE)]
    _, *behind = render([*turns, *turns], template, tokenizer).split(SAMPLE)
    return {first_end(text, template, tokenizer) for text in behind}


def first_end(behind: str, template: str, tokenizer: Any) -> str:
    """The marker that comes first behind a response."""
    found = [(at, end) for end in named(template).ends_of_turn(tokenizer) if (at := behind.find(end)) >= 0]
    if not found:
        raise DataError(
            f"the template {template} writes nothing behind a response, so that a policy never ends one; choose another"
        )
    return min(found)[1]


def decoded(tokens: Sequence[int], tokenizer: Any) -> str:
    """Nothing is left out, and no space is."""
    return tokenizer.decode(tokens, clean_up_tokenization_spaces=False)


@dataclass(frozen=True)
class Response:
    """One sample of a prompt, as it is written."""

    text: str  # without what ended it
    finish_reason: str  # "stop", or "length": max_new_tokens came first
    num_tokens: int  # with what ended it
    log_prob: float  # sum over those, nats, at the temperature and before top_p


def response_of(completion: Completion, ends: Ends, decode: Callable[[Sequence[int]], str]) -> Response:
    """The text up to the first end in it."""
    tokens = completion.tokens
    text = decode(tokens[:-1] if tokens[-1] in ends.tokens else tokens)
    places = [at for end in ends.texts if (at := text.find(end)) >= 0]
    return Response(
        text[: min(places, default=len(text))],
        "stop" if completion.is_finished else "length",
        len(tokens),
        sum(completion.log_probs),
    )
