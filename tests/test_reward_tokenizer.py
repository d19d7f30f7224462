"""What transformers makes of a conversation by an exported tokenizer is what training made of it."""

from pathlib import Path
from typing import Any

import pytest
from families import CONVERSATIONS, llama2_tokenizer, llama3_tokenizer
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateError
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from nemo_hs2pref.checkpoint.hugging_face.chat_templates import CHAT_TEMPLATES, OWN, chat_template
from nemo_hs2pref.checkpoint.hugging_face.tokenizer import write_reward_tokenizer
from nemo_hs2pref.data.records import Message
from nemo_hs2pref.data.templates import TEMPLATES, render
from nemo_hs2pref.errors import CheckpointError

TURN = st.text(min_size=1).filter(str.strip)
NAMES = sorted(TEMPLATES.keys() - {OWN})


def words(*special: str, **tokens: str) -> PreTrainedTokenizerFast:
    """A tokenizer of two words and special tokens."""
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokens)


def conversation(turns: list[str], system: str | None) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": content} for i, content in enumerate(turns)]
    return messages if system is None else [{"role": "system", "content": system}, *messages]


# Text


@pytest.mark.parametrize("name", NAMES)
def test_every_training_template_has_its_jinja(name: str) -> None:
    assert name in CHAT_TEMPLATES


@pytest.mark.parametrize("name", NAMES)
@given(pairs=st.lists(st.tuples(TURN, TURN), min_size=1, max_size=3), system=st.none() | TURN)
def test_jinja_writes_the_text_of_training(name: str, pairs: list[tuple[str, str]], system: str | None) -> None:
    messages = conversation([turn for pair in pairs for turn in pair], system)
    tokenizer = words("<s>")
    tokenizer.chat_template = chat_template(name, tokenizer)
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    assert text == render([Message(**message) for message in messages], name)
    for asks in (True, False):  # as TRL finds the response in a text, and as RewardBench renders the prompt first
        assert text.startswith(tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=asks))
    with pytest.raises(TemplateError, match="asks for a response after the response to be judged"):
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def test_llama3_text_is_metas() -> None:
    tokenizer = words("<s>")
    tokenizer.chat_template = chat_template("llama3", tokenizer)
    assert tokenizer.apply_chat_template(conversation([" a\n", "b"], None), tokenize=False) == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\na<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nb<|eot_id|>"
    )


@pytest.mark.parametrize("roles", [("assistant",), ("user", "user"), ("user", "system", "assistant"), ("system",)])
def test_conversations_out_of_turn_are_refused_as_in_training(roles: tuple[str, ...]) -> None:
    tokenizer = words("<s>")
    tokenizer.chat_template = chat_template("extra_id", tokenizer)
    with pytest.raises(TemplateError, match=r"take turns|no message of the user"):
        tokenizer.apply_chat_template([{"role": role, "content": "a"} for role in roles], tokenize=False)


def test_the_tokenizers_own_template_writes_the_date_of_training() -> None:
    tokenizer = words("<s>")
    said = "{% for message in messages %} {{ message.content }}{% endfor %}"
    tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }} {{ strftime_now(\"%Y\") }}" + said
    messages = conversation(["a", "b"], None)
    trained = render([Message(**message) for message in messages], OWN, tokenizer)
    tokenizer.chat_template = chat_template(OWN, tokenizer)
    assert tokenizer.apply_chat_template(messages, tokenize=False) == trained == "26 Jul 2024 2024 a b"


@pytest.mark.parametrize("name", [OWN, "chatml"])
def test_a_template_without_jinja_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"trained on the template '{name}', which has no chat template"):
        chat_template(name, words("<s>"))


# Tokens


@pytest.mark.parametrize(
    ("make", "vocab_size", "pad_token"),
    [
        (llama2_tokenizer, 1000, "<|pad|>"),
        (llama2_tokenizer, 354, "<unk>"),  # which byte pieces never give
        (llama3_tokenizer, 260, "<|reserved_special_token_0|>"),
    ],
)
def test_tokens_are_those_of_training(make: Any, vocab_size: int, pad_token: str, tmp_path: Path) -> None:
    """Before, both tokenizers put BOS before every text; training has none."""
    make(tmp_path / "base")
    base = AutoTokenizer.from_pretrained(tmp_path / "base")
    padding = write_reward_tokenizer(tmp_path / "base", tmp_path / "out", "extra_id", vocab_size, "right", 128)
    exported = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert exported.pad_token == pad_token
    assert type(exported) is PreTrainedTokenizerFast  # transformers 5's LlamaTokenizer has a splitter of its own
    assert len(base("a")["input_ids"]) > len(base("a", add_special_tokens=False)["input_ids"])
    for messages in CONVERSATIONS:
        text = render([Message(**message) for message in messages], "extra_id")
        tokens = base(text, add_special_tokens=False)["input_ids"]
        assert exported.apply_chat_template(messages) == exported(text)["input_ids"] == tokens
        assert padding not in tokens
    batch = exported.apply_chat_template(CONVERSATIONS, padding=True, return_dict=True)
    assert batch.keys() == {"input_ids", "attention_mask"}
    assert {row[-1] for row, mask in zip(*batch.values(), strict=True) if not mask[-1]} == {padding}


@pytest.mark.parametrize(
    ("special", "tokens", "vocab_size", "expected"),
    [
        (["<s>", "</s>", "<pad>"], {"eos_token": "</s>", "pad_token": "<pad>"}, 5, "<pad>"),  # its own
        (["</s>", "<|right_pad|>"], {"eos_token": "</s>", "pad_token": "</s>"}, 4, "<|right_pad|>"),
        (["</s>", "<x>", "<|reserved_special_token_0|>"], {"eos_token": "</s>"}, 5, "<|reserved_special_token_0|>"),
        (["</s>", "<x>"], {"eos_token": "</s>"}, 5, "<|pad|>"),  # a row of the embedding is free
        (["</s>", "<x>"], {"eos_token": "</s>"}, 4, "<x>"),
        (["</s>"], {"eos_token": "</s>"}, 3, "</s>"),  # which this template never writes
    ],
)  # fmt: skip
def test_padding_is_a_token_that_the_text_never_has(
    special: list[str], tokens: dict[str, str], vocab_size: int, expected: str, tmp_path: Path
) -> None:
    words(*special, **tokens).save_pretrained(tmp_path / "base")
    padding = write_reward_tokenizer(tmp_path / "base", tmp_path / "out", "extra_id", vocab_size, "left", 128)
    found = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert (found.pad_token, found.pad_token_id, found.padding_side) == (expected, padding, "left")
    assert found.model_max_length == 128
    assert padding < vocab_size


def test_a_tokenizer_whose_every_special_token_is_used_is_refused(tmp_path: Path) -> None:
    tokenizer = words("</s>", eos_token="</s>")
    tokenizer.chat_template = "{{ messages[0].content + eos_token }}"
    tokenizer.save_pretrained(tmp_path / "base")
    with pytest.raises(CheckpointError, match="every special token stands in its chat template, so none can pad"):
        write_reward_tokenizer(tmp_path / "base", tmp_path / "out", OWN, 3, "right", 128)
