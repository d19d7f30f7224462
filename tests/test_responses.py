"""Which tokens the assistant writes: its words and what ends its turns, in every template."""

import pytest
from chat_tokenizers import CHATML_TOKENS, byte_tokenizer, chatml, llama3
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_hs2pref.data.records import Message
from nemo_hs2pref.data.templates import render, render_prompt
from nemo_hs2pref.data.templates.responses import mark_responses
from nemo_hs2pref.errors import ConfigError, DataError

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TWO_TURNS = (
    Message("system", "Be brief."),
    Message("user", "One?"),
    Message("assistant", "1"),
    Message("user", "Two?"),
    Message("assistant", "It is 2."),
)
TOKENIZERS = {"extra_id": llama3(), "llama3": llama3(), "tokenizer": byte_tokenizer(CHATML_TOKENS, CHATML)}
WRITTEN = {
    "extra_id": ["1\n<extra_id_1>", "It is 2.\n<extra_id_2>"],
    "llama3": ["1<|eot_id|>", "It is 2.<|eot_id|>"],
    "tokenizer": ["1<|im_end|>", "It is 2.<|im_end|>"],
}


def written(messages, template, tokenizer, turns="all") -> str:
    """The text of the tokens that count as the assistant's."""
    (marked,) = mark_responses([messages], template, tokenizer, turns)
    assert len(marked.tokens) == len(marked.is_response)
    ids = [token for token, is_response in zip(marked.tokens, marked.is_response, strict=True) if is_response]
    return tokenizer.decode(ids)


@pytest.mark.parametrize("template", WRITTEN)
def test_the_assistants_words_and_the_ends_of_its_turns_are_its_tokens(template):
    tokenizer = TOKENIZERS[template]
    assert written(TWO_TURNS, template, tokenizer) == "".join(WRITTEN[template])
    assert written(TWO_TURNS, template, tokenizer, "last") == WRITTEN[template][-1]


@pytest.mark.parametrize("template", WRITTEN)
def test_a_prompt_is_what_stands_before_the_response(template):
    tokenizer = TOKENIZERS[template]
    text, prompt = (make(TWO_TURNS[:end], template, tokenizer) for make, end in ((render, 5), (render_prompt, 4)))
    assert text.startswith(prompt) and text.removeprefix(prompt).startswith("It is 2.")
    (marked,) = mark_responses([TWO_TURNS], template, tokenizer, "last")
    assert marked.is_response.index(True) == len(tokenizer(prompt, add_special_tokens=False)["input_ids"])


def test_words_that_also_stand_in_the_prompt_are_not_taken_for_the_response():
    messages = (Message("user", "assistant\n1\n1<extra_id_1> 1"), Message("assistant", "1"))
    (marked,) = mark_responses([messages], "extra_id", llama3())
    assert sum(marked.is_response) == len("1\n<extra_id_2>")


word = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=8).filter(str.strip)


@settings(max_examples=60, deadline=None)
@given(contents=st.lists(word, min_size=2, max_size=6).filter(lambda words: len(words) % 2 == 0))
def test_any_words_are_the_assistants_where_it_says_them(contents):
    messages = [
        Message("assistant" if place % 2 else "user", content.replace("<|", "< |"))
        for place, content in enumerate(contents)
    ]
    said = "".join(f"{message.content.strip()}<|eot_id|>" for message in messages[1::2])
    assert written(messages, "llama3", llama3()) == said


def test_a_template_that_writes_nothing_behind_a_response_is_refused():
    endless = byte_tokenizer(
        CHATML_TOKENS, "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}",
    )  # fmt: skip
    with pytest.raises(DataError, match="never learn to stop"):
        mark_responses([TWO_TURNS], "tokenizer", endless)


def test_a_template_that_cannot_mark_the_turns_is_refused_where_they_are_asked_for():
    """As Qwen3's, which writes earlier turns in another way than the last."""
    counted = byte_tokenizer(CHATML_TOKENS, "{{ messages | length }}\n" + CHATML)
    with pytest.raises(DataError, match="cannot be told what the assistant writes"):
        mark_responses([TWO_TURNS], "tokenizer", counted)


def test_a_template_without_a_prompt_for_the_assistant_has_its_header_learned_with_the_response():
    """transformers' own rule for such a template is the same: its prompt ends with the user's turn."""
    assert written(TWO_TURNS, "tokenizer", chatml(), "last") == "<|im_start|>assistant\nIt is 2.<|im_end|>"


def test_a_slow_tokenizer_is_refused():
    with pytest.raises(ConfigError, match="not a fast one"):
        mark_responses([TWO_TURNS], "tokenizer", type("Slow", (), {"is_fast": False, "name_or_path": "x"})())
