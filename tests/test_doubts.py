"""Rows that may not be meant: what `data prepare` and `data inspect` tell of them, and what they drop or refuse."""

import json
from pathlib import Path

import chat_tokenizers
import pytest

from nemo_hs2pref.cli import main
from nemo_hs2pref.data.doubts.columns import contradicts
from nemo_hs2pref.data.doubts.texts import is_templated
from nemo_hs2pref.data.preparation.length import LengthLimit
from nemo_hs2pref.data.preparation.prepare import Options, prepare
from nemo_hs2pref.data.reading import scratch
from nemo_hs2pref.data.reading.split import split_and_family, split_of_prompt
from nemo_hs2pref.data.records import Message, read_jsonl, write_jsonl
from nemo_hs2pref.errors import DataError

PAIRS = Options("pairs")
# Templates that cut the thought and that have no place for a system message.
THOUGHTLESS = "{% for m in messages %}<|im_start|>{{ m['content'].split('</think>')[-1] }}{% endfor %}"
NO_SYSTEM = "{% for m in messages if m['role'] != 'system' %}<|im_start|>{{ m['content'] }}{% endfor %}"


def pair(name: str, prompt: str = "Is it prime?", chosen: str = "No.", rejected: str = "Yes.", **more) -> dict:
    return {"id": name, "prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


def counts(doubts: dict) -> dict[str, int]:
    return {word: found["count"] for word, found in doubts.items() if found["count"]}


def prepared(tmp_path: Path, files: dict[str, list[dict]], options: Options = PAIRS) -> dict:
    for name, rows in files.items():
        write_jsonl(tmp_path / "source" / f"{name}.jsonl", rows)
    return prepare(str(tmp_path / "source"), tmp_path / "out", options)


def inspected(path: Path, capsys) -> dict:
    assert main(["data", "inspect", str(path), "--json"]) == 0  # a doubt is no fault
    return json.loads(capsys.readouterr().out)


def with_template(source: str, folder: Path) -> str:
    tokenizer = chat_tokenizers.byte_tokenizer(["<|im_start|>", "<|im_end|>"], source)
    return chat_tokenizers.saved(tokenizer, folder / "tokenizer")


# Between rows


def test_what_training_and_validation_share_is_counted_and_nothing_is_dropped(tmp_path, shared_data, capsys):
    source = str(shared_data / "inputs-that-failed" / "leak")
    assert main(["data", "prepare", "--format", "pairs", "--source", source, "--out", str(tmp_path / "out")]) == 0
    warned = capsys.readouterr().err
    assert "warning: 4 prompts stand in training and in validation" in warned
    assert "warning: 4 pairs stand in training and in validation" in warned
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    expected = {"prompts_in_both_splits": 4, "pairs_in_both_splits": 4}
    assert counts(manifest["doubts"]) == expected
    assert [manifest["outputs"][f"pairs.{split}.jsonl"]["rows"] for split in ("train", "validation")] == [4, 4]
    for path in (Path(source), tmp_path / "out"):  # as released, and as prepared
        assert counts(inspected(path, capsys)["doubts"]) == expected
    main(["data", "inspect", source, "--no-plot"])
    assert "all rows:\n  warning: 4 prompts stand in training and in validation" in capsys.readouterr().out


def test_white_space_makes_no_other_prompt_and_no_other_response(tmp_path, capsys):
    train = [pair("a", "Is 91 prime?"), pair("b", "Is 93 prime?")]
    validation = [pair("c", " Is 91 prime?\n", "No.\n"), pair("d", "Is 93 prime?", "Never."), pair("e", "Why?")]
    doubts = prepared(tmp_path, {"train": train, "validation": validation})["doubts"]
    assert counts(doubts) == {"prompts_in_both_splits": 2, "pairs_in_both_splits": 1}
    assert doubts["pairs_in_both_splits"]["first"] == ["a"]
    assert doubts["duplicates"] == {"count": 0, "first": []}  # looked for, and none
    assert counts(inspected(tmp_path / "source", capsys)["doubts"]) == counts(doubts)


def test_repeated_and_contradicting_pairs_are_counted(tmp_path, capsys):
    rows = [
        *(pair("a", strength=1), pair("b", strength=2), pair("c", chosen=" No.", strength=3)),  # twice too often
        pair("d", chosen="Yes.", rejected="No.", strength=1),  # and once the other way round
        *(pair("e", "Why?"), pair("f", "Why?", "So.", "No.")),
    ]
    doubts = prepared(tmp_path, {"train": rows, "validation": [pair("v", "What?")]})["doubts"]
    assert counts(doubts) == {"duplicates": 2, "contradicting_pairs": 1}
    assert counts(inspected(tmp_path / "source", capsys)["doubts"]) == counts(doubts)


def test_a_prompt_is_shared_whichever_files_it_stands_in(tmp_path):
    """The first stage trains on ratings, the second validates on pairs."""
    ratings = {"helpfulness": 4, "correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 2}
    rows = [{"prompt": prompt, "response": "No.", **ratings} for prompt in ("Is 91 prime?", "Why?", "Why?")]
    comparison = {"prompt": "Is 91 prime?", "response_1": "No.", "response_2": "Yes.", "preference_strength": -1}
    write_jsonl(tmp_path / "source" / "train.jsonl", rows)
    write_jsonl(tmp_path / "source" / "validation.jsonl", [rows[0] | {"prompt": "What?"}])
    write_jsonl(tmp_path / "source" / "preference" / "preference.jsonl", [{"split": "val", **comparison}])
    doubts = prepare(str(tmp_path / "source"), tmp_path / "out")["doubts"]
    assert counts(doubts) == {"prompts_in_both_splits": 1, "duplicates": 1}


def test_a_leading_space_does_not_move_a_prompt_to_the_other_split(tmp_path):
    prompts = [f"Question {number}?" for number in range(60)]
    plain, spaced = ([(Message("user", before + prompt),) for prompt in prompts] for before in ("", " \n"))
    splits = [split_of_prompt(prompt, 0.3) for prompt in plain]
    assert splits == [split_of_prompt(prompt, 0.3) for prompt in spaced] and len(set(splits)) == 2
    rows = [pair(f"{prompt}{n}", " " * n + prompt, f"{n}") for prompt in prompts for n in (0, 1)]
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    also = Options("pairs", validation_share=0.3, also=("prompts",))
    manifest = prepare(str(tmp_path / "pairs.jsonl"), tmp_path / "out", also)
    assert counts(manifest["doubts"]) == {}
    written = [manifest["outputs"][f"prompts.{split}.jsonl"]["rows"] for split in ("train", "validation")]
    assert sum(written) == len(prompts) and 0 not in written


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pairs.train.jsonl", ("train", "pairs.*.jsonl")),
        ("helpful-base/test.jsonl.gz", ("validation", "helpful-base/*.jsonl.gz")),
        ("val-00000-of-00001.parquet", ("validation", "*-00000-of-00001.parquet")),
        ("constraints.jsonl", (None, "constraints.jsonl")),
    ],
)
def test_a_files_name_tells_its_split_and_its_family(name, expected):
    assert split_and_family(name) == expected


def test_no_room_for_digests_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scratch, "TABLES", scratch.TABLES + "PRAGMA max_page_count=5;")  # SQLite's own limit
    write_jsonl(tmp_path / "pairs.jsonl", (pair(str(number), f"Is {number} prime?") for number in range(5000)))
    assert main(["data", "inspect", str(tmp_path / "pairs.jsonl"), "--no-plot"]) == 2
    error = capsys.readouterr().err
    assert "pairs.jsonl: cannot be inspected (" in error and "database or disk is full" in error and "TMPDIR" in error


# In a row


def test_templated_texts_and_repeated_prompts_are_told(tmp_path, shared_data, capsys):
    source = shared_data / "inputs-that-failed" / "p06_prompt_repeated_text.jsonl"
    words = ["data", "prepare", "--format", "pairs", "--source", str(source), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    expected = {"templated_text": 2, "prompt_in_responses": 1}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert counts(manifest["doubts"]) == expected
    assert manifest["doubts"]["prompt_in_responses"]["first"] == ["b"]
    assert "warning: 2 rows hold markers of a chat template or a transcript" in capsys.readouterr().err
    (file,) = inspected(source, capsys)["files"]
    assert counts(file["doubts"]) == expected
    assert file["doubts"]["templated_text"]["first"] == ["line 1", "line 3"]
    main(["data", "inspect", str(source), "--no-plot"])
    assert "warning: 1 rows have responses that begin with the prompt" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        "Human: Is 91 prime?\n\nAssistant:",
        "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Is 91 prime?\n\nAssistant:",
        "<|im_start|>user\nHi",
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>",
        "<extra_id_1>User\nHi",
        "[INST] Hi [/INST]",
        "<start_of_turn>user\nHi",
        "### Instruction:\nAdd.\n\n### Response:\n",
    ],
)
def test_text_in_somebodys_template_is_recognised(text):
    assert is_templated(text)


@pytest.mark.parametrize("text", ["Human: a noun.", "The Assistant: a film.\n\nHuman: no", "x[INSTANCE]", "<user>"])
def test_other_text_is_not(text):
    assert not is_templated(text)


def test_a_short_prompt_and_a_single_echo_are_no_repeated_prompt(tmp_path):
    rows = [pair("a", "Hi", "Hi!", "Hi, you."), pair("b", "Is 93 prime?", "Is 93 prime? No.", "Yes.")]
    assert counts(prepared(tmp_path, {"train": rows})["doubts"]) == {}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"score_chosen": 3.5, "score_rejected": 4}, True),
        ({"chosen_score": 1, "rejected_score": 2}, True),
        ({"chosen-rating": 1.0, "rejected-rating": 2.0}, True),
        ({"margin": -0.5}, True),
        ({"margin": "-0.5"}, True),
        ({"score_chosen": "3.5", "score_rejected": 4}, True),
        ({"score_chosen": "n/a", "score_rejected": "nan"}, False),
        ({"score_difference": -1}, True),
        ({"status": "tie"}, True),
        ({"score_chosen": 4, "score_rejected": 3.5, "margin": 0.5, "status": "unchanged"}, False),
        ({"score_chosen": 4, "score_rejected": 4}, False),
        ({"score_chosen": None, "score_rejected": 4, "margin": None, "status": None}, False),
        ({"score_chosen": "1", "score_rejected": [2], "chosen_score": 1}, False),
        ({"chosen_rank": 1, "rejected_rank": 2, "chosen_length": 1, "rejected_length": 2}, False),
    ],
)
def test_columns_that_contradict_chosen_and_rejected(columns, expected):
    assert contradicts(pair("a") | columns) is expected
    assert contradicts(columns) is False  # of no pair


def test_contradicting_columns_are_told_with_their_place(tmp_path, capsys):
    rows = [pair("a", score_chosen=2, score_rejected=1), pair("b", "Why?", score_chosen=1, score_rejected=2)]
    doubts = prepared(tmp_path, {"train": rows})["doubts"]
    assert counts(doubts) == {"contradicting_columns": 1}
    assert doubts["contradicting_columns"]["first"] == [f"{tmp_path}/source/train.jsonl:2"]
    (file,) = inspected(tmp_path / "source", capsys)["files"]
    assert file["doubts"]["contradicting_columns"] == {"count": 1, "first": ["line 2"]}


# Nothing to prefer


def test_pairs_that_differ_in_white_space_alone_are_dropped_as_equal(tmp_path, shared_data, capsys):
    source = shared_data / "inputs-that-failed" / "p11_whitespace_only.jsonl"
    manifest = prepare(str(source), tmp_path / "out", Options("pairs"))
    assert manifest["outputs"]["pairs.train.jsonl"]["dropped"] == {"equal_responses": 1}
    (dropped,) = (row for _, row in read_jsonl(tmp_path / "out" / "dropped.jsonl"))
    assert (dropped["id"], dropped["where"]) == ("a", f"{source}:1")
    (file,) = inspected(source, capsys)["files"]
    assert file["unusable"] == {"equal_responses": 1}


@pytest.mark.parametrize("form", ["helpsteer2", "annotations", "aligner", "hh-rlhf"])
def test_equal_responses_are_dropped_whichever_the_format(tmp_path, form):
    two = {"prompt": "Why?", "response_1": "So.", "response_2": "So.\n"}
    said = [{"annotator": name, "preference": 1} for name in "abc"]
    text = "<extra_id_0>System\nBe brief.\n<extra_id_1>User\nWhy?\n<extra_id_1>Assistant\nSo.{}\n<extra_id_2>"
    labelled = [{"text": text.format(end), "label": [1] + [-100] * 8} for end in ("", "\n")]
    sides = {side: f"\n\nHuman: Why?\n\nAssistant: So.{end}" for side, end in (("chosen", ""), ("rejected", " "))}
    name, rows = {
        "helpsteer2": ("preference", [two | {"split": "train", "preference_strength": 1}]),
        "annotations": ("tasks", [two | {"id": "a", "annotations": said}]),
        "aligner": ("train", labelled),
        "hh-rlhf": ("train", [sides]),
    }[form]
    write_jsonl(tmp_path / f"{name}.jsonl", rows)
    with pytest.raises(DataError, match=r"no row is left to train on \(equal_responses 1\)"):
        prepare(str(tmp_path / f"{name}.jsonl"), tmp_path / "out", Options(form, validation_share=0))


# What a template loses


def test_pairs_that_the_template_makes_equal_are_dropped_and_others_that_it_cuts_are_malformed(tmp_path, shared_data):
    rows = [row for _, row in read_jsonl(shared_data / "inputs-that-failed" / "p13_think.jsonl")]
    limit = LengthLimit(500, with_template(THOUGHTLESS, tmp_path), "tokenizer")
    manifest = prepared(tmp_path, {"train": rows}, Options("pairs", limit=limit))
    assert manifest["outputs"]["pairs.train.jsonl"]["dropped"] == {"equal_responses": 1}
    cut = [*rows, pair("cut", "Why?", "<think>Hm.</think>So.", "No.")]
    with pytest.raises(DataError, match=r"pairs\.train, row 'cut': message 2, of the assistant, '<think>Hm.*skip$"):
        prepared(tmp_path, {"train": cut}, Options("pairs", limit=limit))
    assert len([*read_jsonl(tmp_path / "out" / "pairs.train.jsonl")]) == 1  # the earlier output is as it was
    manifest = prepared(tmp_path, {"train": cut}, Options("pairs", limit=limit, skip_bad_rows=True))
    assert manifest["bad_rows"]["skipped"] == 1 and "'cut'" in manifest["bad_rows"]["first"][0]
    assert manifest["outputs"]["pairs.train.jsonl"]["rows"] == 1
    with pytest.raises(DataError, match=r"pairs\.train\.jsonl: no row is left to train on \(all malformed\)"):
        prepared(tmp_path, {"train": cut[2:]}, Options("pairs", limit=limit, skip_bad_rows=True))


def test_scores_and_inspection_refuse_what_the_template_leaves_out(tmp_path, capsys):
    tokenizer = with_template(NO_SYSTEM, tmp_path)
    system = [{"role": "system", "content": "a"}, {"role": "user", "content": "Is 91 prime?"}]  # "a" is in <|im_start|>
    write_jsonl(tmp_path / "pairs.jsonl", [pair("a", prompt=system), pair("b")])
    words = ["--tokenizer", tokenizer, "--template", "tokenizer", "--no-plot"]
    assert main(["data", "inspect", str(tmp_path / "pairs.jsonl"), *words]) == 0
    printed = capsys.readouterr().out
    assert "the template refuses 1 random rows; the first: message 1, of the system, 'a', does not stand" in printed
    assert "not rendered: message 1, of the system" in printed


# --swap-responses


def test_swap_says_where_it_changes_nothing(tmp_path, capsys):
    rows = [pair(str(number), f"Is {number} prime?") for number in range(8)]
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    words = ["data", "prepare", "--format", "pairs", "--source", str(tmp_path / "pairs.jsonl"), "--swap-responses"]
    assert main([*words, "--out", str(tmp_path / "out"), "--validation-share", "0"]) == 0
    assert "warning: --swap-responses changes nothing in pairs.train: its rows have no chosen_position" in (
        capsys.readouterr().err
    )
    assert main(["data", "prepare", "--source", "sample", "--swap-responses", "--out", str(tmp_path / "sample")]) == 0
    assert "warning" not in capsys.readouterr().err
    swapped = json.loads((tmp_path / "sample" / "manifest.json").read_text())["swapped"]["pairs.train"]
    assert 0 < swapped["swapped"] < swapped["swappable"]
