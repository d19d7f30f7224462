"""The text that a reward model reads, against NeMo-Aligner's own rows."""

import json
import re

import pytest

from nemo_hs2pref.data.helpsteer2 import split_prompt
from nemo_hs2pref.data.records import Message
from nemo_hs2pref.data.templates import EXTRA_ID_SYSTEM, render
from nemo_hs2pref.errors import ConfigError, DataError

FRAME = re.compile(
    r"<extra_id_0>System\n.*?\n<extra_id_1>User\n(.*)\n<extra_id_1>Assistant\n(.*)\n<extra_id_2>", re.DOTALL
)


def test_text_is_the_one_of_aligner_in_its_own_rows(shared_data):
    rows = (shared_data / "nemo-aligner-test-data" / "test-rm.jsonl").read_text(encoding="utf-8").splitlines()
    for row in rows:
        text = json.loads(row)["text"]
        prompt, response = FRAME.fullmatch(text).groups()
        assert render((*split_prompt(prompt), Message("assistant", response))) == text
    assert len(rows) == 8


def test_turns_of_real_prompts_come_back_in_the_same_markers(shared_data):
    """An official prompt embeds its turns as the template writes them, so rendering must put it back unchanged."""
    path = shared_data / "helpsteer2-rl-prompts" / "helpsteer2_prompts_2000.jsonl"
    prompts = [json.loads(line)["prompt"] for line in path.read_text(encoding="utf-8").splitlines()]
    for prompt in prompts:
        text = render((*split_prompt(prompt), Message("assistant", "response")))
        assert FRAME.fullmatch(text).groups() == (prompt, "response")
    assert sum(len(split_prompt(prompt)) > 1 for prompt in prompts) == 531


def test_whole_text_of_a_conversation_with_three_turns():
    turns = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Bye"), Message("assistant", "Ciao"))
    assert render(turns, "extra_id") == (
        f"<extra_id_0>System\n{EXTRA_ID_SYSTEM}\n<extra_id_1>User\nHi\n<extra_id_1>Assistant\nHello\n"
        "<extra_id_1>User\nBye\n<extra_id_1>Assistant\nCiao\n<extra_id_2>"
    )


@pytest.mark.parametrize("system", ["Be brief.", ""])
def test_given_system_message_takes_the_place_of_the_fixed_one(system):
    text = render((Message("system", system), Message("user", "Hi"), Message("assistant", "Hello")))
    assert text == f"<extra_id_0>System\n{system}\n<extra_id_1>User\nHi\n<extra_id_1>Assistant\nHello\n<extra_id_2>"


def test_unknown_template_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="template 'chatml' is unknown; the templates are extra_id"):
        render((Message("user", "Hi"), Message("assistant", "Hello")), "chatml")


def test_conversation_without_a_response_is_refused():
    with pytest.raises(DataError, match='must have the role "assistant"'):
        render((Message("user", "Hi"),))
