"""HelpSteer, HH-RLHF and OpenAssistant, the data of HelpSteer2's baselines: rows in their real forms, odd ones too."""

import gzip
import json
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_hs2pref.cli import main
from nemo_hs2pref.data.formats.hh_rlhf import SUBSETS, split_transcript
from nemo_hs2pref.data.preparation.prepare import Options, prepare
from nemo_hs2pref.data.records import Message, read_pairs, read_ratings, write_jsonl
from nemo_hs2pref.errors import DataError


def dropped(manifest, output):
    return manifest["outputs"][output]["dropped"]


def texts(messages):
    return [(message.role, message.content) for message in messages]


# HelpSteer

RATED = {"helpfulness": 3, "correctness": 4, "coherence": 4, "complexity": 2, "verbosity": 1}


def helpsteer_row(prompt, response, **change):
    return {"prompt": prompt, "response": response, **RATED, **change}


def test_helpsteer_gives_ratings_only_and_keeps_the_responses_of_a_prompt_together(tmp_path):
    rows = [helpsteer_row(f"Question {n}?", f"Answer {side}", helpfulness=n % 5) for n in range(20) for side in "abcd"]
    write_jsonl(tmp_path / "source" / "train.jsonl.gz", rows)
    write_jsonl(tmp_path / "source" / "validation.jsonl", [*rows[:1], helpsteer_row("Odd?", " ")])
    manifest = prepare(str(tmp_path / "source"), tmp_path / "out", Options("helpsteer"))

    assert manifest["format"] == "helpsteer"
    assert set(manifest["outputs"]) == {"ratings.train.jsonl", "ratings.validation.jsonl", "dropped.jsonl"}
    ratings = read_ratings(tmp_path / "out" / "ratings.train.jsonl")
    assert len(ratings) == 80
    for first in range(0, 80, 4):
        group = ratings[first : first + 4]
        assert len({rating.messages[0].content for rating in group}) == 1
        assert [rating.messages[1].content for rating in group] == [f"Answer {side}" for side in "abcd"]
    rating = next(rating for rating in ratings if rating.messages[0].content == "Question 7?")
    assert rating.attributes == {**RATED, "helpfulness": 2}
    assert dropped(manifest, "ratings.validation.jsonl") == {"empty_response": 1}


def test_helpsteer_prompt_may_hold_turns(tmp_path):
    prompt = "Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nBye"
    write_jsonl(tmp_path / "train.jsonl", [helpsteer_row(prompt, "See you")])
    prepare(str(tmp_path / "train.jsonl"), tmp_path / "out", Options("helpsteer"))
    (rating,) = read_ratings(tmp_path / "out" / "ratings.train.jsonl")
    assert [message.content for message in rating.messages] == ["Hi", "Hello", "Bye", "See you"]


# HH-RLHF

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
OPENING = f"{HUMAN} Hi{ASSISTANT} Hello. How can I help?{HUMAN} Recipes?"


def transcript(turns):
    markers = {"user": HUMAN, "assistant": ASSISTANT}
    return "".join(f"{markers[turn.role]} {turn.content}" for turn in turns)


TURN_TEXT = st.text(st.sampled_from("aZ :\n\tHuman雪")).filter(lambda text: "\n\nHuman:" not in text)
TURNS = st.lists(st.builds(Message, st.sampled_from(["user", "assistant"]), TURN_TEXT), min_size=1)


@given(TURNS)
def test_transcript_splits_into_the_turns_it_was_made_of(turns):
    assert split_transcript(transcript(turns)) == tuple(turns)


def hh_source(folder, *rows, subset="helpful-base"):
    """One released folder with the rows as training and the first as validation data."""
    write_jsonl(folder / subset / "train.jsonl.gz", rows)
    write_jsonl(folder / subset / "test.jsonl.gz", rows[:1])
    return folder / subset


def hh_row(chosen=f"{OPENING}{ASSISTANT} Try dal.", rejected=f"{OPENING}{ASSISTANT} No."):
    return {"chosen": chosen, "rejected": rejected}


def test_hh_pair_has_the_common_turns_as_prompt_and_no_strength(tmp_path):
    source = hh_source(tmp_path, hh_row(rejected=f"{OPENING}{ASSISTANT}  No.\n\nReally: human: no. "))
    manifest = prepare(str(source), tmp_path / "out", Options("hh-rlhf"))
    assert set(manifest["outputs"]) == {"pairs.train.jsonl", "pairs.validation.jsonl"}
    for split, file in (("train", "train"), ("validation", "test")):
        (pair,) = read_pairs(tmp_path / "out" / f"pairs.{split}.jsonl", require_strength=False)
        assert (pair.id, pair.subset, pair.strength) == (f"helpful-base-{file}-1", "helpful-base", None)
        opening = [("user", "Hi"), ("assistant", "Hello. How can I help?"), ("user", "Recipes?")]
        assert texts(pair.prompt) == opening
        assert (pair.chosen, pair.rejected) == ("Try dal.", " No.\n\nReally: human: no. ")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (hh_row(chosen=f"{ASSISTANT} Hello{HUMAN} Hi{ASSISTANT} Yes"), "bad_start"),
        (hh_row(chosen=f"Human: Hi{ASSISTANT} Yes"), "bad_start"),
        (hh_row(chosen=""), "bad_start"),
        (hh_row(rejected=f"{OPENING}{HUMAN} Hello?{ASSISTANT} Yes"), "bad_turns"),
        (hh_row(rejected=f"{OPENING}{ASSISTANT} Well{ASSISTANT} Yes"), "bad_turns"),
        (hh_row(chosen=OPENING), "bad_turns"),
        (hh_row(rejected=f"{OPENING}{ASSISTANT}"), "empty_turn"),
        (hh_row(rejected=f"{OPENING}{ASSISTANT} \n"), "empty_turn"),
        (hh_row(chosen=f"{HUMAN}{ASSISTANT} Yes"), "empty_turn"),
        (hh_row(rejected=f"{HUMAN} Hi{ASSISTANT} Yes"), "different_prompts"),
        (hh_row(rejected=f"{OPENING}?{ASSISTANT} No."), "different_prompts"),
        (hh_row(rejected=hh_row()["chosen"]), "equal_responses"),
    ],
)
def test_hh_row_that_is_no_comparison_is_dropped_with_its_reason(tmp_path, row, reason):
    manifest = prepare(str(hh_source(tmp_path, hh_row(), row)), tmp_path / "out", Options("hh-rlhf"))
    assert dropped(manifest, "pairs.train.jsonl") == {reason: 1}
    (pair,) = read_pairs(tmp_path / "out" / "pairs.train.jsonl", require_strength=False)
    assert pair.id == "helpful-base-train-1"


def test_hh_folders_become_subsets_of_one_file(tmp_path):
    for subset in SUBSETS:
        hh_source(tmp_path / "source", hh_row(), hh_row(rejected=f"{OPENING}{ASSISTANT} {subset}"), subset=subset)
    manifest = prepare(str(tmp_path / "source"), tmp_path / "out", Options("hh-rlhf"))
    assert len(manifest["inputs"]) == 8
    pairs = read_pairs(tmp_path / "out" / "pairs.train.jsonl", require_strength=False)
    assert {pair.id: pair.subset for pair in pairs} == {f"{s}-train-{n}": s for s in SUBSETS for n in (1, 2)}
    assert manifest["outputs"]["pairs.validation.jsonl"]["rows"] == 4


def test_hh_whole_folder_must_be_whole(tmp_path):
    hh_source(tmp_path, hh_row())
    with pytest.raises(DataError, match=r"helpful-online/train\.jsonl: no such file"):
        prepare(str(tmp_path), tmp_path / "out", Options("hh-rlhf"))


def test_hh_row_of_another_form_stops_with_file_and_line(tmp_path):
    source = hh_source(tmp_path, hh_row(), {"chosen": "x"})
    with pytest.raises(DataError, match=r'train\.jsonl\.gz:2: no "rejected"; the keys are chosen'):
        prepare(str(source), tmp_path / "out", Options("hh-rlhf"))


def test_single_file_of_another_name_is_refused(tmp_path):
    write_jsonl(tmp_path / "mine.jsonl", [hh_row()])
    with pytest.raises(DataError, match=r"mine\.jsonl: the name does not say which file this is; the official ones"):
        prepare(str(tmp_path / "mine.jsonl"), tmp_path / "out", Options("hh-rlhf"))


# OpenAssistant


def message(name, role, text, *replies, labels=None):
    """As exported: absent values are null, a label has a mean and a count."""
    values = {key: {"value": value, "count": 3} for key, value in (labels or {}).items()}
    node = {"message_id": name, "parent_id": None, "text": text, "role": role, "lang": "de", "deleted": False}
    return {**node, "rank": None, "labels": values or None, "replies": list(replies)}


def tree(root):
    return {"message_tree_id": root["message_id"], "tree_state": "ready_for_export", "prompt": root}


QUALITY = {"spam": 0.0, "quality": 0.75, "toxicity": 0.0, "helpfulness": 1.0, "violence": 0.5}


def padding(number):
    """Trees of one rated response, so that a small file has a training part."""
    return [
        tree(message(f"p{n}", "prompter", "Q", message(f"a{n}", "assistant", "A", labels=QUALITY)))
        for n in range(number)
    ]


def prepare_trees(tmp_path, *trees, name="2023-04-12_oasst_all.trees.jsonl"):
    """All rated responses by id, and the sums of what was dropped."""
    write_jsonl(tmp_path / name, [*trees, *padding(2)])
    manifest = prepare(str(tmp_path / name), tmp_path / "out", Options("oasst"))
    outputs = [f"ratings.{split}.jsonl" for split in ("train", "validation")]
    ratings = [rating for output in outputs for rating in read_ratings(tmp_path / "out" / output)]
    reasons = {}
    for output in outputs:
        for reason, count in dropped(manifest, output).items():
            reasons[reason] = reasons.get(reason, 0) + count
    return {rating.id: rating for rating in ratings if rating.id not in ("a0", "a1")}, reasons


def test_oasst_message_is_rated_once_with_its_path_whatever_follows_it(tmp_path):
    later = [message(f"f{n}", "prompter", f"Follow-up {n}") for n in range(3)]
    deep = message("b2", "assistant", "Deep", labels={"creativity": 0.5})
    later[1]["replies"] = [deep]
    root = message(
        "r", "prompter", "Frage?",
        message("b0", "assistant", "Erste", *later, labels=QUALITY),
        message("b1", "assistant", "Zweite", labels={"quality": 0.1, "humor": 0.9}),
        labels={"quality": 1.0},
    )  # fmt: skip
    ratings, reasons = prepare_trees(tmp_path, tree(root))
    assert set(ratings) == {"b0", "b1", "b2"} and not reasons
    assert texts(ratings["b0"].messages) == [("user", "Frage?"), ("assistant", "Erste")]
    path = [("user", "Frage?"), ("assistant", "Erste"), ("user", "Follow-up 1"), ("assistant", "Deep")]
    assert texts(ratings["b2"].messages) == path
    # Only the four attributes of the regression head: OASST's "helpfulness" is not HelpSteer's.
    assert ratings["b0"].attributes == {"quality": 3, "toxicity": 0}
    assert ratings["b1"].attributes == {"quality": 0, "humor": 4}


@pytest.mark.parametrize(
    ("value", "rating"), [(0.0, 0), (0.125, 0), (0.13, 1), (0.375, 2), (0.625, 2), (0.9166666666666666, 4), (1, 4)]
)
def test_oasst_label_is_rounded_onto_the_scale_with_halves_to_the_even_number(tmp_path, value, rating):
    root = message("r", "prompter", "Q", message("b", "assistant", "A", labels={"quality": value}))
    ratings, _ = prepare_trees(tmp_path, tree(root))
    assert ratings["b"].attributes == {"quality": rating}


def test_oasst_messages_that_cannot_be_rated_are_dropped_and_counted(tmp_path):
    empty_question = message("q", "prompter", " ", message("b3", "assistant", "A", labels=QUALITY))
    root = message(
        "r", "prompter", "Q",
        message("b0", "assistant", "A", empty_question, labels=QUALITY),
        message("b1", "assistant", "A", labels={"spam": 0.0}),
        message("b2", "assistant", "", labels=QUALITY),
        message("b4", "assistant", "A", labels={"quality": None}),
        message("b5", "assistant", "A", message("b6", "assistant", "B", labels=QUALITY)),
    )  # fmt: skip
    del root["replies"][4]["labels"]
    alone = message("r2", "prompter", "waits for answers")
    del alone["replies"]
    assistant_first = message("r3", "assistant", "Ask me!", labels=QUALITY)
    ratings, reasons = prepare_trees(tmp_path, tree(root), tree(alone), tree(assistant_first))
    assert set(ratings) == {"b0"}
    assert reasons == {"unlabelled": 3, "empty_response": 1, "bad_turns": 3}


def test_oasst_trees_are_divided_as_aligner_divides_them(tmp_path):
    """Its script: random.seed(10), random.shuffle(trees), the first int(0.95 n) train; our --seed changes nothing."""
    write_jsonl(tmp_path / "trees.jsonl.gz", padding(50))
    names = [f"a{n}" for n in range(50)]
    random.seed(10)
    random.shuffle(names)
    for seed in (1, 2):
        prepare(str(tmp_path / "trees.jsonl.gz"), tmp_path / "out", Options("oasst", seed=seed))
        train, validation = (read_ratings(tmp_path / "out" / f"ratings.{s}.jsonl") for s in ("train", "validation"))
        assert {rating.id for rating in train} == set(names[:47])
        assert {rating.id for rating in validation} == set(names[47:])


def test_oasst_folder_may_hold_either_export_and_all_trees_win(tmp_path):
    source = tmp_path / "source"
    for name, number in (("ready", 20), ("all", 30)):
        write_jsonl(source / f"2023-04-12_oasst_{name}.trees.jsonl.gz", padding(number))
        manifest = prepare(str(source), tmp_path / "out", Options("oasst"))
        assert manifest["inputs"]["trees"]["rows"] == number


def test_oasst_long_thread_keeps_its_whole_path(tmp_path):
    depth, replies = 100, []
    for number in reversed(range(depth)):
        role = "assistant" if number % 2 else "prompter"
        replies = [message(f"m{number}", role, "text", *replies, labels=QUALITY)]
    ratings, _ = prepare_trees(tmp_path, tree(replies[0]))
    assert len(ratings) == depth // 2 and len(ratings["m99"].messages) == depth


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"role": "system"}, "message 'b': \"role\" is 'system'; expected prompter or assistant"),
        ({"text": None}, "message 'b': \"text\" is None; expected a string"),
        ({"labels": [0.5]}, r"message 'b': \"labels\" is \[0.5\]; expected an object"),
        ({"labels": {"quality": 0.5}}, "message 'b': label quality is 0.5; expected an object"),
        ({"labels": {"quality": {"value": 1.5}}}, "message 'b': label quality is 1.5; expected a number from 0 to 1"),
        ({"labels": {"quality": {"value": "1"}}}, "message 'b': label quality is '1'; expected a number"),
        ({"replies": {}, "labels": {"quality": {"count": 1}}}, "message 'b': no \"value\"; the keys are count"),
        ({"replies": "none"}, "message 'b': \"replies\" is 'none'; expected a list of messages"),
        ({"replies": ["none"]}, "message 'b': a reply is 'none'; expected an object"),
    ],
)
def test_oasst_message_of_another_form_stops_with_line_and_message(tmp_path, change, fault):
    root = message("r", "prompter", "Q", {**message("b", "assistant", "A"), **change})
    with pytest.raises(DataError, match=rf"trees\.jsonl:1: {fault}"):
        prepare_trees(tmp_path, tree(root))


def test_oasst_message_that_occurs_twice_is_refused(tmp_path):
    def root(name):
        return tree(message(name, "prompter", "Q", message("b", "assistant", "A", labels=QUALITY)))

    with pytest.raises(DataError, match=r"trees\.jsonl:2, message b: \"id\" 'b' stands in .*trees\.jsonl:1"):
        prepare_trees(tmp_path, root("r1"), root("r2"))  # as where one tree occurs twice
    twice = message("r", "prompter", "Q", *[message("b", "assistant", "A", labels=QUALITY)] * 2)
    with pytest.raises(DataError, match=r"trees\.jsonl:1: two messages have the id 'b'"):
        prepare_trees(tmp_path, tree(twice))


# The command


def test_command_prepares_the_named_format(tmp_path, capsys):
    source = hh_source(tmp_path, hh_row(), hh_row(chosen=OPENING))
    command = ["data", "prepare", "--format", "hh-rlhf", "--source", str(source), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert re.search(r"pairs\.train\.jsonl +1 rows   dropped: 1 bad_turns", capsys.readouterr().out)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["format"] == "hh-rlhf"
    assert manifest["outputs"]["pairs.train.jsonl"]["with_ratings"] == 0


def test_sample_is_helpsteer2_alone(tmp_path, capsys):
    assert main(["data", "prepare", "--format", "oasst", "--source", "sample", "--out", str(tmp_path / "out")]) == 2
    assert "source 'sample' is no file and no folder; expected a folder with 2023-04" in capsys.readouterr().err


def test_clone_without_the_large_files_is_named_as_broken(tmp_path):
    source = hh_source(tmp_path, hh_row())
    (source / "train.jsonl.gz").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match=r"train\.jsonl\.gz: is a Git LFS pointer .* `git lfs pull`"):
        prepare(str(source), tmp_path / "out", Options("hh-rlhf"))
    assert gzip.decompress((source / "test.jsonl.gz").read_bytes())


@pytest.mark.parametrize("file", ["train.jsonl", "preference.jsonl"])
def test_single_file_of_helpsteer2_gives_what_it_holds(tmp_path, file):
    comparison = {"split": "train", "prompt": "Q", "response_1": "a", "response_2": "b", "preference_strength": 1}
    write_jsonl(tmp_path / file, [helpsteer_row("Q", "a") if file == "train.jsonl" else comparison])
    manifest = prepare(str(tmp_path / file), tmp_path / "out")
    kind = "ratings" if file == "train.jsonl" else "pairs"
    assert set(manifest["outputs"]) == {f"{kind}.train.jsonl", f"{kind}.validation.jsonl"}
