"""Rows in the forms of other projects, and keys that no reader reads: read, refused, or counted by name."""

import json
import re

import pytest

from nemo_hs2pref.cli import main
from nemo_hs2pref.data.formats.annotations import parse_task
from nemo_hs2pref.data.forms.pairs import PROMPT_KEYS
from nemo_hs2pref.data.preparation.prepare import Options, prepare
from nemo_hs2pref.data.records import Message, parse_conversation, parse_pair, parse_rating, read_pairs, write_jsonl
from nemo_hs2pref.data.unread import unread
from nemo_hs2pref.errors import DataError

ASK, SAY, NAY = (
    {"role": "user", "content": "Why?"},
    *({"role": "assistant", "content": text} for text in ("So.", "No.")),
)
SYSTEM = {"role": "system", "content": "Be brief."}
EARLIER = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
PAIR = {"id": "p", "prompt": "Why?", "chosen": "So.", "rejected": "No."}


def human(text):
    return {"from": "human", "value": text}


def gpt(text):
    return {"from": "gpt", "value": text}


def parts(*texts):
    return [{"type": "text", "text": text} for text in texts]


def without_prompt(**row):
    return {key: value for key, value in {**PAIR, **row}.items() if key != "prompt"}


# Prompts, system messages and sides


@pytest.mark.parametrize(
    "row",
    [
        *({**without_prompt(), key: "Why?"} for key in PROMPT_KEYS[1:-1]),
        {**PAIR, "question": "Why?", "input": ""},
        {
            **PAIR,
            "prompt": [{"role": "user", "content": parts("Wh", "y?")}],
            "chosen": [{**SAY, "content": parts("So.")}],
        }
        | {"rejected": [NAY]},
        without_prompt(conversations=[human("Why?")], chosen=gpt("So."), rejected=gpt("No.")),
        without_prompt(chosen=[human("Why?"), gpt("So.")], rejected=[human("Why?"), gpt("No.")]),
        {**PAIR, "chosen": [ASK, SAY], "rejected": [ASK, NAY], "messages": [ASK, SAY]},
        {**PAIR, "chosen": [{**ASK, "name": None}, SAY], "rejected": [ASK, NAY], "tools": None, "history": []},
        {
            "id": "p",
            "context": [ASK],
            "completions": [{"rank": 1, "completion": [NAY]}, {"rank": 0, "completion": [SAY]}],
        },
    ],
)
def test_forms_of_other_projects_are_the_same_pair(row):
    pair = parse_pair(row)
    assert (pair.prompt, pair.chosen, pair.rejected) == ((Message("user", "Why?"),), "So.", "No.")
    assert pair.strength is None and unread(row, read=row.keys()) == []


@pytest.mark.parametrize(
    ("row", "roles"),
    [
        ({**PAIR, "system": "Be brief."}, "su"),
        ({**PAIR, "system_prompt": "Be brief.", "prompt": [SYSTEM, ASK]}, "su"),
        ({**PAIR, "chosen": [SYSTEM, ASK, SAY], "rejected": [SYSTEM, ASK, NAY]}, "su"),
        ({**PAIR, "prompt": [SYSTEM, ASK], "chosen": [ASK, SAY], "rejected": [ASK, NAY]}, "su"),
        ({**PAIR, "prompt": "Hi.", "chosen": [*EARLIER, ASK, SAY], "rejected": [*EARLIER, ASK, NAY]}, "uau"),
        (
            without_prompt(conversations=[human("Why?")], chosen=gpt("So."), rejected=gpt("No."), system="Be brief."),
            "su",
        ),
    ],
)
def test_system_messages_and_earlier_turns_are_kept(row, roles):
    pair = parse_pair(row)
    assert "".join(message.role[0] for message in pair.prompt) == roles and pair.prompt[-1].content == "Why?"
    assert roles[0] != "s" or pair.prompt[0].content == "Be brief."


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({**PAIR, "question": "When?"}, '"prompt" and "question" could each be the prompt'),
        ({**without_prompt(), "instruction": "Translate.", "input": "Why?"}, '"input" and "instruction" could each be'),
        ({**PAIR, "system": "x", "prompt": [SYSTEM, ASK]}, '"system" and the system message at the start'),
        ({**PAIR, "system": 3}, '"system" is 3; expected a string'),
        (
            {**PAIR, "prompt": "When?", "chosen": [ASK, SAY], "rejected": [ASK, NAY]},
            '"prompt" is not what "chosen" and',
        ),
        ({**PAIR, "messages": [ASK, NAY]}, '"messages" is neither the prompt nor the chosen conversation'),
        (
            {**PAIR, "prompt": [{"role": "user", "content": [{"type": "image"}]}]},
            'a part of the type "image"; only text',
        ),
        (without_prompt(conversations=[{"from": "x", "value": "y"}]), "\"from\" is 'x'; expected one of human"),
        ({**without_prompt(), "context": [ASK], "completions": []}, '"chosen" stands beside "completions", "context"'),
        ({"id": "p", "context": [ASK], "completions": [{}] * 3}, '"completions" has 3 of them; expected two'),
    ],
)
def test_what_a_row_does_not_say_for_certain_is_refused(row, fault):
    with pytest.raises(DataError) as error:
        parse_pair(row)
    assert fault in str(error.value)


def test_rows_to_score_may_be_sharegpts_and_have_a_system_message_or_prompt_beside_them():
    row = {"id": "r", "system": "Be brief.", "conversations": [human("Why?"), gpt("So.")], "prompt": "Why?"}
    assert [message.role for message in parse_conversation(row).messages] == ["system", "user", "assistant"]
    with pytest.raises(DataError, match='"prompt" is not what "messages" begin with'):
        parse_conversation({**row, "prompt": "When?"})


def test_system_message_stands_in_ratings_and_tasks_too():
    rating = {
        "id": "r",
        "system": "Be brief.",
        "messages": [ASK, SAY],
        "attributes": {"helpfulness": 3.0, "quality": None},
    }
    assert parse_rating(rating).messages[0] == Message("system", "Be brief.")
    assert parse_rating(rating).attributes == {"helpfulness": 3}
    answers = {
        "response_1": "a",
        "response_2": "b",
        "annotations": [{"preference": 2.0, "ratings_1": {"quality": None}}],
    }
    task = parse_task({"id": "t", "system": "Be brief.", "prompt": "Why?", **answers})
    assert [message.role for message in task.prompt] == ["system", "user"]
    assert (task.preferences, task.ratings) == ((2,), None)


# HelpSteer3


@pytest.mark.parametrize(
    ("overall", "expected"),
    [(-3, ("one", "two", 3, 1)), (-1.0, ("one", "two", 1, 1)), (2, ("two", "one", 2, 2)), (0, None)],
)
def test_sign_of_helpsteer3_says_which_response_is_chosen_and_its_size_how_strongly(tmp_path, overall, expected):
    row = {"domain": "code", "language": "python", "context": [ASK], "response1": "one", "response2": "two"}
    row |= {"overall_preference": overall, "individual_preference": [{"score": 1, "reasoning": "x"}]}
    write_jsonl(tmp_path / "in/preference/train.jsonl.gz", [row, {**row, "overall_preference": 3}])
    manifest = prepare(str(tmp_path / "in"), tmp_path / "out", Options("helpsteer3"))
    pairs = {pair.id: pair for pair in read_pairs(tmp_path / "out/pairs.train.jsonl")}
    if expected is None:
        assert manifest["outputs"]["pairs.train.jsonl"]["dropped"] == {"tie": 1} and set(pairs) == {"train-2"}
        assert parse_pair({**row, "id": "p"}).strength == 0
        return
    pair = pairs["train-1"]
    assert (pair.chosen, pair.rejected, pair.strength, pair.chosen_position) == expected
    assert (pair.subset, pair.prompt) == ("code", (Message("user", "Why?"),))
    assert parse_pair({**row, "id": "train-1"}) == pair  # what evaluate makes of the row itself
    assert manifest["ignored_keys"] == {}
    with pytest.raises(DataError, match='"overall_preference" is 4'):
        parse_pair({**row, "id": "p", "overall_preference": 4})


def test_equal_ranks_are_a_tie():
    completions = [{"rank": 2, "completion": [SAY]}, {"rank": 2.0, "completion": [NAY]}]
    assert parse_pair({"id": "p", "context": [ASK], "completions": completions}).strength == 0


# Keys that are not read


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            {"tools": '[{"name": "f"}]'},
            '"tools" is not read, and the row would say something else without it: the tools',
        ),
        ({"documents": [{"text": "d"}]}, '"documents" is not read'),
        ({"images": ["a.png"]}, '"images" is not read'),
        ({"history": [["a", "b"]]}, '"history" is not read'),
        ({"chosen": [ASK, {**SAY, "tool_calls": [{"id": "1"}]}], "rejected": [ASK, NAY]}, '"tool_calls" of a message'),
        ({"chosen": [{**SAY, "reasoning_content": "Hm."}], "rejected": [NAY]}, '"reasoning_content" of a message'),
        ({"prompt": [ASK, SAY, {"role": "tool", "content": "7"}]}, 'the role "tool" is not read'),
        ({"prompt": [human("Why?"), {"from": "function_call", "value": "f"}]}, 'the role "function_call" is not read'),
    ],
)
def test_key_that_changes_the_meaning_is_refused_by_every_command(tmp_path, capsys, change, fault):
    write_jsonl(tmp_path / "pairs.jsonl", [{**PAIR, "id": "q"}, {**PAIR, **change}])
    path, out = str(tmp_path / "pairs.jsonl"), str(tmp_path / "out")
    for command in (
        ["data", "prepare", "--format", "pairs", "--source", path, "--out", out],
        ["evaluate", "preferences", "--scores", "absent", "--input", path, "--out", out],
        ["score", "--model", "absent", "--input", path, "--output", out],
    ):
        assert main(command) == 2
        error = capsys.readouterr().err
        assert f"{path}:2: {fault}" in error and error.count("\n") == 1
    assert main(["data", "inspect", path, "--no-plot"]) == 1
    assert fault in capsys.readouterr().out


def test_system_message_is_refused_where_a_format_has_no_place_for_it(tmp_path):
    rows = [{"text": "t", "label": [0.0] * 9, "system": "Be brief."}]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    with pytest.raises(DataError, match=r'rows\.jsonl:1: "system" is not read'):
        prepare(str(tmp_path / "rows.jsonl"), tmp_path / "out", Options("aligner"))


def test_other_keys_are_counted_by_name(tmp_path, capsys):
    rows = [{**PAIR, "id": f"p{n}", "source": "web", "score": None if n else 3} for n in range(3)]
    rows.append({**PAIR, "id": "m", "chosen": [{**SAY, "name": "Ann"}], "rejected": [{**NAY, "name": ""}]})
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    path, out = str(tmp_path / "pairs.jsonl"), str(tmp_path / "out")
    assert main(["data", "prepare", "--format", "pairs", "--source", path, "--out", out]) == 0
    told = "source (3), chosen: name (1), score (1)"
    assert f"keys that are not read, with the rows that have them: {told}" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["ignored_keys"] == {"chosen: name": 1, "score": 1, "source": 3}
    assert main(["data", "inspect", path, "--no-plot"]) == 0
    assert told in capsys.readouterr().out
    sides = [side.id for pair in read_pairs(path, require_strength=False) for side in pair.conversations()]
    write_jsonl(tmp_path / "scores.jsonl", [{"id": side, "reward": n} for n, side in enumerate(sides)])
    scores, results = str(tmp_path / "scores.jsonl"), tmp_path / "results"
    assert main(["evaluate", "preferences", "--scores", scores, "--input", path, "--out", str(results)]) == 0
    assert told in capsys.readouterr().out
    assert json.loads((results / "summary.json").read_text())["input"]["ignored_keys"]["source"] == 3


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"overall_preference": -3, "completions": [{"rank": 1, "completion": "q"}]}, '"completions", "overall_pref'),
        ({"prompt": '[{"role": "user", "content": "Hi"}]'}, '"prompt" is a list of messages kept as text'),
        ({"chosen": "[{'content': 'x', 'role': 'assistant'}]"}, '"chosen" is a list of messages kept as text'),
        ({"prompt": [{"role": "user", "content": "Hi", "from": "gpt", "value": "lost"}]}, '"value" of a message'),
    ],
)
def test_what_another_form_would_say_is_never_lost(row, said, tmp_path):
    write_jsonl(tmp_path / "pairs.jsonl", [{"id": "a", "prompt": "Hi", "chosen": "x", "rejected": "y", **row}])
    with pytest.raises(DataError, match=re.escape(said)):
        read_pairs(tmp_path / "pairs.jsonl", require_strength=False)


def test_words_that_look_like_nothing_are_text(tmp_path):
    row = {"id": "a", "system": "None", "prompt": "null", "chosen": "x", "rejected": "{}", "tools": "[]"}
    write_jsonl(tmp_path / "pairs.jsonl", [row])
    (pair,) = read_pairs(tmp_path / "pairs.jsonl", require_strength=False)
    assert [message.content for message in pair.prompt] == ["None", "null"] and pair.rejected == "{}"
