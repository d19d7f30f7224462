"""Prompts of a file as tokens, what ends a response, and tokens as responses."""

import json
import math

import pytest
from chat_tokenizers import CHATML_TOKENS, byte_tokenizer, llama3

from nemo_hs2pref.cli import main
from nemo_hs2pref.data.completions import Completion
from nemo_hs2pref.data.faults import RefusedRows
from nemo_hs2pref.data.records import Message, Prompt, read_prompts
from nemo_hs2pref.errors import ConfigError, DataError
from nemo_hs2pref.generation.requests import decoded, ends_of, response_of, token_prompts

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TOKENIZERS = {"extra_id": llama3(), "llama3": llama3(), "tokenizer": byte_tokenizer(CHATML_TOKENS, CHATML)}
END = {"extra_id": "\n<extra_id_1>", "llama3": "<|eot_id|>", "tokenizer": "<|im_end|>"}


def ids(text, tokenizer):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def read(tmp_path, *rows):
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_prompts(file)


def respond(text, template, stops=()):
    """The response where the model writes so, a token at a time, until something ends it."""
    tokenizer = TOKENIZERS[template]
    ends, completion = ends_of(tokenizer, template, stops), Completion()
    for token in ids(text, tokenizer):
        completion.tokens.append(token)
        completion.log_probs.append(math.log(0.5))
        completion.is_finished = ends.is_reached(completion.tokens)
        if completion.is_finished:
            break
    return response_of(completion, ends, lambda tokens: decoded(tokens, tokenizer))


@pytest.mark.parametrize("template", END)
def test_a_response_ends_with_the_turn_and_is_without_its_end(template):
    response = respond(f"Ja , é{END[template]}and more", template)
    assert (response.text, response.finish_reason) == ("Ja , é", "stop")
    assert response.log_prob == pytest.approx(response.num_tokens * math.log(0.5))


@pytest.mark.parametrize("template", END)
def test_a_response_that_nothing_ends_is_whole(template):
    assert respond("Ja , é", template).text == "Ja , é"
    assert respond("Ja , é", template).finish_reason == "length"


def test_a_text_ends_a_response_across_tokens_and_the_first_of_several_counts():
    response = respond("a\nUser: b", "tokenizer", ("\nUser:", "User:"))
    assert (response.text, response.finish_reason) == ("a", "stop")
    assert respond("no é end", "tokenizer", ("é",)).text == "no "


def test_a_special_token_that_the_template_does_not_write_ends_nothing():
    assert respond("in <filename> it", "tokenizer").finish_reason == "length"


def test_prompts_are_read_in_both_forms_with_a_system_message(tmp_path):
    found = read(
        tmp_path,
        {"id": 1, "prompt": "One?"},
        {"id": "b", "messages": [{"role": "user", "content": "Two?"}], "system": "Be brief."},
    )
    assert found == [
        Prompt("1", (Message("user", "One?"),)),
        Prompt("b", (Message("system", "Be brief."), Message("user", "Two?"))),
    ]


def test_every_prompt_that_cannot_be_answered_is_named(tmp_path):
    answered = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    with pytest.raises(DataError) as caught:
        read(
            tmp_path,
            {"id": 1, "messages": answered},
            {"id": 2},
            {"id": 3, "prompt": " "},
            {"prompt": "One?"},
            {"id": 5, "prompt": "One?", "messages": [{"role": "user", "content": "Two?"}]},
        )
    sentences = str(caught.value).splitlines()[1:]
    assert [f"prompts.jsonl:{number}:" in line for number, line in enumerate(sentences, start=1)] == [True] * 5
    assert 'last message must have the role "user"' in sentences[0]
    assert '"prompt" and "messages" could each be the prompt' in sentences[4]


def test_prompts_that_are_too_long_or_hold_a_marker_are_named_together():
    rows = [Prompt(name, (Message("user", text),)) for name, text in (("a", "x" * 99), ("b", "<|eot_id|>"), ("c", "?"))]
    with pytest.raises(RefusedRows) as caught:
        token_prompts(rows, "llama3", TOKENIZERS["llama3"], max_tokens=60)
    assert list(caught.value.reasons) == ["b", "a"]
    assert "more than the 60" in caught.value.reasons["a"] and "--max-new-tokens" in caught.value.reasons["a"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    {
        "temperature": (["--temperature", "-1"], "--temperature -1.0: expected 0"),
        "no share": (["--top-p", "0"], "--top-p 0.0: expected a share above 0"),
        "more than all": (["--top-p", "1.5"], "--top-p 1.5"),
        "equal samples": (["--temperature", "0", "--samples", "2"], "--samples 2: at --temperature 0"),
        "no text": (["--stop", ""], "--stop '': is empty"),
        "no model": ([], "nothing: "),
    }.values(),
)
def test_bad_words_stop_before_anything_is_read(words, sentence, tmp_path, capsys):
    (tmp_path / "prompts.jsonl").write_text('{"id": 1, "prompt": "One?"}\n')
    out = tmp_path / "out.jsonl"
    files = ["--model", "nothing", "--input", str(tmp_path / "prompts.jsonl"), "--output", str(out)]
    assert main(["generate", *files, *words]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("hs2pref generate: error: ") and sentence in printed
    assert not out.exists()


def test_a_layout_that_does_not_divide_the_model_is_refused(llama_tiny, tmp_path):
    from nemo_hs2pref.generation.policy import Policy

    with pytest.raises(ConfigError, match=r"model.tensor_model_parallel_size=3 does not divide num_attention_heads 8"):
        Policy(llama_tiny, tensor_parallel=3)


def test_a_model_that_writes_nothing_is_refused(reward_hf, reward_nemo, tmp_path, capsys):
    (tmp_path / "prompts.jsonl").write_text('{"id": 1, "prompt": "One?"}\n')
    for model, sentence in ((reward_hf, "convert it: hs2pref convert from-hf"), (reward_nemo, "a reward model")):
        files = ["--model", str(model), "--input", str(tmp_path / "prompts.jsonl")]
        assert main(["generate", *files, "--output", str(tmp_path / "out.jsonl")]) == 2
        assert sentence in capsys.readouterr().err
