"""`hs2pref data prepare` from end to end: what it writes, what it refuses, and that it does either wholly."""

import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import chat_tokenizers
import pytest

from nemo_hs2pref.cli import main
from nemo_hs2pref.data.formats import official
from nemo_hs2pref.data.formats.helpsteer2 import RELEASE
from nemo_hs2pref.data.preparation.length import LengthLimit
from nemo_hs2pref.data.preparation.prepare import Options, prepare
from nemo_hs2pref.data.reading import scratch
from nemo_hs2pref.data.records import read_jsonl, read_pairs, read_ratings, write_jsonl
from nemo_hs2pref.data.templates import render
from nemo_hs2pref.errors import DataError

RATINGS = {"helpfulness": 4, "correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 2}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def source(tmp_path):
    """An official folder with 30 rated pairs and 30 comparisons whose prompts are 1 to 30 words long."""
    folder = tmp_path / "source"
    prompts = [" ".join(["word"] * number) for number in range(1, 31)]
    ratings = [{"prompt": p, "response": r, **RATINGS} for p in prompts for r in ("one", "one two three")]
    write_jsonl(folder / "train.jsonl", ratings)
    held_out = {"prompt": "held out"}
    write_jsonl(folder / "validation.jsonl", [rating | held_out for rating in ratings[:2]])
    comparisons = [
        {"split": "train", "prompt": p, "response_1": "one", "response_2": "one two three", "preference_strength": s}
        for p, s in zip(prompts, [1, -2, 0] * 10, strict=True)
    ]
    write_jsonl(
        folder / "preference" / "preference.jsonl", [*comparisons, comparisons[0] | held_out | {"split": "val"}]
    )
    return folder


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    """A real transformers tokenizer that makes one token of every word, and adds one that must not be counted."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"[UNK]": 0, "[BOS]": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = WhitespaceSplit()
    words.post_processor = TemplateProcessing(single="[BOS] $A", special_tokens=[("[BOS]", 1)])
    folder = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]").save_pretrained(folder)
    return str(folder)


# What is written


def test_sample_becomes_four_files_and_a_manifest_that_matches_them(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["data", "prepare", "--source", "sample", "--out", str(out)]) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert set(contents(out)) == {"manifest.json", *manifest["outputs"]}
    assert re.search(r"pairs\.validation\.jsonl +64 rows", capsys.readouterr().out)
    for name, output in manifest["outputs"].items():
        assert output["sha256"] == hashlib.sha256((out / name).read_bytes()).hexdigest()
        if not name.startswith(("pairs", "ratings")):
            continue
        rows = read_pairs(out / name) if name.startswith("pairs") else read_ratings(out / name)
        assert output["rows"] == len(rows)
    for name, table in manifest["inputs"].items():
        path = RELEASE.sample / RELEASE.layouts[0][name]
        assert table["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    pairs = [manifest["outputs"][f"pairs.{split}.jsonl"] for split in ("train", "validation")]
    assert manifest["inputs"]["preference"]["rows"] == sum(
        output["rows"] + sum(output["dropped"].values()) for output in pairs
    )


def test_ties_are_left_out_and_counted(source, tmp_path):
    manifest = prepare(str(source), tmp_path / "out")
    assert manifest["outputs"]["pairs.train.jsonl"]["rows"] == 20
    assert manifest["outputs"]["pairs.train.jsonl"]["dropped"] == {"tie": 10}


def test_same_source_and_seed_give_the_same_bytes(source, tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        prepare(str(source), tmp_path / name, Options(seed=seed))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    shuffled, otherwise = (read_pairs(tmp_path / name / "pairs.train.jsonl") for name in ("a", "c"))
    assert shuffled != otherwise
    assert sorted(shuffled, key=lambda pair: pair.id) == sorted(otherwise, key=lambda pair: pair.id)


def test_shuffling_keeps_the_two_responses_of_a_pair_together(source, tmp_path):
    prepare(str(source), tmp_path / "out")
    ids = [rating.id for rating in read_ratings(tmp_path / "out" / "ratings.train.jsonl")]
    pairs = [identifier.removesuffix(":1") for identifier in ids[::2]]
    assert ids[1::2] == [f"{pair}:2" for pair in pairs]
    assert pairs != sorted(pairs, key=lambda pair: int(pair.removeprefix("train-")))
    assert set(pairs) == {f"train-{number}" for number in range(1, 31)}


def test_what_is_too_long_is_dropped_and_counted(source, tmp_path, tokenizer, capsys):
    everything, limited = tmp_path / "everything", tmp_path / "limited"
    prepare(str(source), everything)
    limit = ["--max-length", "45", "--tokenizer", tokenizer]
    assert main(["data", "prepare", "--source", str(source), "--out", str(limited), *limit]) == 0

    def short(conversation):
        return len(render(conversation.messages).split()) <= 45

    ratings = read_ratings(everything / "ratings.train.jsonl")
    kept = [rating for rating in ratings if short(rating)]
    assert read_ratings(limited / "ratings.train.jsonl") == kept
    pairs = read_pairs(everything / "pairs.train.jsonl")
    assert read_pairs(limited / "pairs.train.jsonl") == [
        pair for pair in pairs if all(short(side) for side in pair.conversations())
    ]
    assert len(kept) % 2 == 0 and 0 < len(kept) < len(ratings)
    manifest = json.loads((limited / "manifest.json").read_text())
    assert manifest["length_limit"] == {"max_length": 45, "tokenizer": tokenizer, "template": "extra_id"}
    assert manifest["outputs"]["ratings.train.jsonl"]["dropped"] == {"too_long": len(ratings) - len(kept)}
    assert f"dropped: {len(ratings) - len(kept)} too_long" in capsys.readouterr().out


def test_limit_is_the_longest_length_that_stays(source, tmp_path, tokenizer):
    prepare(str(source), tmp_path / "all")
    longest = max(
        len(render(rating.messages).split()) for rating in read_ratings(tmp_path / "all" / "ratings.train.jsonl")
    )
    manifest = prepare(str(source), tmp_path / "at", Options(limit=LengthLimit(longest, tokenizer)))
    assert manifest["outputs"]["ratings.train.jsonl"]["dropped"] == {}
    manifest = prepare(str(source), tmp_path / "below", Options(limit=LengthLimit(longest - 1, tokenizer)))
    assert manifest["outputs"]["ratings.train.jsonl"]["dropped"] == {"too_long": 1}


# What is refused


def test_limit_that_leaves_nothing_is_refused(source, tmp_path, tokenizer):
    with pytest.raises(DataError, match=r"ratings\.train\.jsonl: no row is left to train on \(too_long 60\)"):
        prepare(str(source), tmp_path / "out", Options(limit=LengthLimit(5, tokenizer)))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-length", "10"], "--max-length and --tokenizer belong together"),
        (["--tokenizer", "x"], "--max-length and --tokenizer belong together"),
        (["--max-length", "0", "--tokenizer", "x"], "--max-length 0 keeps nothing"),
        (["--max-length", "9", "--tokenizer", "./absent"], "tokenizer ./absent: cannot be loaded"),
    ],
)
def test_wrong_limit_ends_in_one_sentence(tmp_path, capsys, arguments, message):
    assert main(["data", "prepare", "--source", "sample", "--out", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_malformed_source_leaves_the_earlier_output_as_it_was(source, tmp_path):
    out = tmp_path / "out"
    prepare(str(source), out)
    before = contents(out)
    with (source / "train.jsonl").open("a") as file:
        file.write('{"prompt": "p"}\n{"prompt": "p"\n')
    with pytest.raises(DataError, match=r"^2 rows cannot be used; .*:\n  .*train\.jsonl:61: no .*\n  .*:62: not JSON"):
        prepare(str(source), out)
    assert contents(out) == before


def test_earlier_output_is_replaced_whole(source, tmp_path):
    out = tmp_path / "out"
    prepare(str(source), out, Options(seed=1))
    prepare(str(source), out, Options(seed=2))
    assert json.loads((out / "manifest.json").read_text())["seed"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


@pytest.mark.parametrize("manifest", [None, "{", '{"tool": "other", "outputs": {}}'])
def test_folder_of_somebody_else_is_not_touched(source, tmp_path, manifest):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    if manifest is not None:
        (out / "manifest.json").write_text(manifest)
    before = contents(out)
    with pytest.raises(DataError, match=r"thesis\.tex, not written by `hs2pref data prepare`"):
        prepare(str(source), out)
    assert contents(out) == before


def test_file_added_to_an_earlier_output_is_not_deleted(source, tmp_path):
    out = tmp_path / "out"
    prepare(str(source), out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"out: holds notes\.txt, not written"):
        prepare(str(source), out)
    assert (out / "notes.txt").read_text() == "mine"


def test_failure_while_writing_restores_the_earlier_output(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    prepare(str(source), out, Options(seed=1))
    before = contents(out)

    def full(path, value, error):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nemo_hs2pref.data.preparation.prepare.write_json", full)
    with pytest.raises(DataError, match=r"out: cannot be written \(No space left on device\)"):
        prepare(str(source), out, Options(seed=2))
    assert contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_failure_between_the_two_renames_restores_the_earlier_output(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    prepare(str(source), out, Options(seed=1))
    before = contents(out)
    rename = Path.rename

    def fails_for_the_new_folder(path, target):
        if path.suffix == ".tmp":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new_folder)
    with pytest.raises(DataError, match="Input/output error"):
        prepare(str(source), out, Options(seed=2))
    assert contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_file_that_appears_meanwhile_is_not_deleted(source, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def somebody_writes_there(path, value, error):
        out.mkdir()
        (out / "notes.txt").write_text("mine")

    monkeypatch.setattr("nemo_hs2pref.data.preparation.prepare.write_json", somebody_writes_there)
    with pytest.raises(DataError, match=r"out: holds notes\.txt, not written"):
        prepare(str(source), out)
    assert (out / "notes.txt").read_text() == "mine"


def test_occupied_folder_is_refused_before_the_source_is_read(tmp_path):
    with pytest.raises(DataError, match="not written by"):
        prepare("absent", Path(__file__).parent)


def test_empty_folder_may_be_filled(source, tmp_path):
    (tmp_path / "out").mkdir()
    prepare(str(source), tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").write_text("")
    with pytest.raises(DataError, match="out: is a file; expected a folder"):
        prepare(str(source), tmp_path / "out")


def test_full_disk_is_one_sentence_and_leaves_nothing(source, tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "TABLES", scratch.TABLES + "PRAGMA max_page_count=4;")  # SQLite's own limit
    with pytest.raises(DataError, match=r"out: cannot be written \(temporary database: database or disk is full\)"):
        prepare(str(source), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_link_to_a_folder_stays_a_link(source, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    prepare(str(source), tmp_path / "out")
    assert (tmp_path / "out").is_symlink() and (tmp_path / "disk" / "manifest.json").exists()


def test_folder_of_another_run_is_left_alone(source, tmp_path):
    """Process numbers repeat on nodes that share a disk."""
    other = tmp_path / f".out.{os.getpid()}.tmp"
    other.mkdir()
    (other / "rows").write_text("of another node")
    prepare(str(source), tmp_path / "out")
    assert (other / "rows").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_preparation_leaves_nothing_behind(source, tmp_path, number):
    with (source / "train.jsonl").open("a") as file:
        file.writelines([(source / "train.jsonl").read_text()] * 3000)
    words = [sys.executable, "-m", "nemo_hs2pref.cli", "data", "prepare", "--source", str(source)]
    process = subprocess.Popen(
        [*words, "--out", str(tmp_path / "out")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # a shell that starts tests in the background has them ignore the interrupt
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".out.*.tmp")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(timeout=30) in (128 + number, -number)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


# What is asked for


def test_memory_does_not_grow_with_the_source(tmp_path):
    """Ten times the rows, and no more than the shuffle's eight bytes each on top."""

    def peak(rows):
        folder = tmp_path / str(rows)
        texts = ("word " * 200, "word " * 100)
        pairs = ({"prompt": f"{n} {texts[1]}", "chosen": texts[0], "rejected": texts[1]} for n in range(rows))
        write_jsonl(folder / "pairs.jsonl", pairs)
        tracemalloc.start()
        prepare(str(folder / "pairs.jsonl"), folder / "out", Options("pairs", also=("prompts",)))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(50)  # what is imported and cached once
    small, large = peak(400), peak(4000)
    assert large < small + 1_000_000 < 4000 * 1500  # the rows alone are 6 MB


def test_where_every_row_is_skipped_the_reasons_are_told(tmp_path, capsys):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "train.jsonl").write_text('{"prompt": "p"}\n' * 2)
    words = ["--source", str(tmp_path / "source"), "--out", str(tmp_path / "out")]
    assert main(["data", "prepare", *words, "--format", "pairs", "--on-bad-row", "skip"]) == 2
    printed = capsys.readouterr().err
    assert "has no row that can be used; 2 rows cannot be used:" in printed
    assert f'{tmp_path}/source/train.jsonl:2: no "chosen"' in printed


def test_malformed_rows_can_be_skipped_and_are_counted(source, tmp_path, capsys):
    with (source / "train.jsonl").open("ab") as file:
        file.write(b'{"prompt": "p"}\n\xff\n')
    out = tmp_path / "out"
    assert main(["data", "prepare", "--source", str(source), "--out", str(out), "--on-bad-row", "skip"]) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["bad_rows"]["skipped"] == 2
    assert [fault.partition(": ")[0] for fault in manifest["bad_rows"]["first"]] == [
        f"{source}/train.jsonl:{line}" for line in (61, 62)
    ]
    assert manifest["bad_rows"]["first"][1].endswith("byte 0 of the line is not UTF-8")
    assert manifest["outputs"]["ratings.train.jsonl"]["rows"] == 60
    assert "2 malformed rows were skipped" in capsys.readouterr().out


def test_faults_of_all_files_are_reported_in_one_run_up_to_a_limit(source, tmp_path):
    for name in ("train.jsonl", "preference/preference.jsonl"):
        with (source / name).open("a") as file:
            file.write("[]\n" * 15)
    with pytest.raises(DataError) as error:
        prepare(str(source), tmp_path / "out")
    first, *faults = str(error.value).splitlines()
    assert first.startswith("30 rows cannot be used") and faults[-1] == "  and 10 more" and len(faults) == 21
    assert f"{source}/preference/preference.jsonl:32: expected a JSON object, found list" in faults[15]


def test_every_dropped_row_is_listed_with_its_reason(source, tmp_path, tokenizer):
    out = tmp_path / "out"
    manifest = prepare(str(source), out, Options(limit=LengthLimit(45, tokenizer)))
    rows = [row for _, row in read_jsonl(out / "dropped.jsonl")]
    counted = {
        (name.removesuffix(".jsonl"), reason): count
        for name, output in manifest["outputs"].items()
        for reason, count in output.get("dropped", {}).items()
    }
    assert Counter((row["output"], row["reason"]) for row in rows) == counted
    assert {reason for _, reason in counted} == {"tie", "too_long"}
    ties = [row for row in rows if row["reason"] == "tie"]
    assert ties[0]["where"] == f"{source}/preference/preference.jsonl:3" and ties[0]["id"] == "preference-3"
    assert all(row["tokens"] > 45 for row in rows if row["reason"] == "too_long")


def test_further_files_hold_the_rows_that_were_kept(source, tmp_path, tokenizer):
    out = tmp_path / "out"
    limit = LengthLimit(45, tokenizer)
    manifest = prepare(str(source), out, Options(limit=limit, also=("aligner", "prompts", "sft", "dpo", "justifier")))
    ratings, pairs = read_ratings(out / "ratings.train.jsonl"), read_pairs(out / "pairs.train.jsonl")
    aligned = [row["text"] for _, row in read_jsonl(out / "aligner.ratings.train.jsonl")]
    assert aligned == [render(rating.messages) for rating in ratings]
    compared = [row["text"] for _, row in read_jsonl(out / "aligner.pairs.train.jsonl")]
    assert sorted(compared) == sorted(render(side.messages) for pair in pairs for side in pair.conversations())
    prompts = [row["prompt"][0]["content"] for _, row in read_jsonl(out / "prompts.train.jsonl")]
    assert prompts == list(dict.fromkeys(rating.messages[0].content for rating in ratings))
    assert manifest["outputs"]["sft.train.jsonl"]["rows"] == len(prompts)
    assert manifest["outputs"]["justifier.train.jsonl"]["rows"] == 0  # no row has a justification
    assert manifest["also"] == ["aligner", "prompts", "sft", "dpo", "justifier"]


def test_swap_changes_positions_and_nothing_else(source, tmp_path):
    for name, swap in (("a", False), ("b", True), ("c", True)):
        prepare(str(source), tmp_path / name, Options(swap_responses=swap))
    assert contents(tmp_path / "b") == contents(tmp_path / "c")
    plain, swapped = (read_pairs(tmp_path / name / "pairs.train.jsonl") for name in "ab")
    assert [replace(pair, chosen_position=1) for pair in plain] == [
        replace(pair, chosen_position=1) for pair in swapped
    ]
    moved = sum(one.chosen_position != other.chosen_position for one, other in zip(plain, swapped, strict=True))
    assert 0 < moved < len(plain)
    rated, turned = (read_ratings(tmp_path / name / "ratings.train.jsonl") for name in "ab")
    assert [{one.id, two.id} for one, two in zip(rated[::2], rated[1::2], strict=True)] == [
        {one.id, two.id} for one, two in zip(turned[::2], turned[1::2], strict=True)
    ]
    assert rated != turned


def test_template_of_the_limit_is_the_one_that_is_counted_and_recorded(tmp_path, capsys):
    tokenizer = chat_tokenizers.saved(chat_tokenizers.llama3(), tmp_path)
    words = ["--max-length", "900", "--tokenizer", tokenizer, "--template", "llama3"]
    assert main(["data", "prepare", "--source", "sample", "--out", str(tmp_path / "out"), *words]) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["length_limit"]["template"] == "llama3"
    words = ["data", "prepare", "--source", "sample", "--out", str(tmp_path / "out"), "--template", "llama3"]
    assert main(words) == 2
    assert "--template is for counting tokens; it needs --max-length and --tokenizer" in capsys.readouterr().err


# Whose data it is


def test_source_with_the_released_numbers_is_no_warning(source, tmp_path, monkeypatch, capsys):
    rows = {"train": 60, "validation": 2, "preference": 31, "disagreements": 0}
    monkeypatch.setattr(official, "FILES", {name: official.File(count, "x") for name, count in rows.items()})
    monkeypatch.setattr(official, "PAIRS", {"train": 20, "validation": 1})
    command = ["data", "prepare", "--source", str(source), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "warning" not in printed.err
    assert "rows and pairs are the released ones (pairs: 20 train and 1 validation)" in printed.out
    assert "train.jsonl is not as downloaded (.gz), so that its SHA-256 cannot be compared" in printed.out
    assert main([*command, "--strict"]) == 2  # what cannot be compared is not shown to be the release
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["release"]["differences"] == []

    path = source / "preference" / "preference.jsonl"
    rows = [row for _, row in read_jsonl(path)]
    write_jsonl(path, [rows[0] | {"response_2": "one\n"}, *rows[1:]])
    assert main(command) == 0  # the paper, which has one pair a row, says nothing of equal responses
    printed = capsys.readouterr()
    assert "warning" not in printed.err and "dropped: 1 equal_responses, 10 tie" in printed.out
    write_jsonl(path, rows)

    monkeypatch.setattr(official, "PAIRS", {"train": 21, "validation": 1})
    assert main(command) == 0
    warning = "pairs.train has 20 pairs, the paper 21: 30 rows - 10 tie; the release has 8,677 rows"
    assert warning in capsys.readouterr().err

    (source / "train.jsonl.gz").write_bytes(gzip.compress((source / "train.jsonl").read_bytes()))
    (source / "train.jsonl").unlink()
    assert main([*command, "--strict"]) == 2
    assert "has as many rows as the release and another SHA-256" in capsys.readouterr().err


def test_statistics_stand_beside_the_papers_only_for_the_papers_data(source, tmp_path, capsys):
    assert main(["data", "prepare", "--source", str(source), "--out", str(tmp_path / "out")]) == 0
    assert "paper" in capsys.readouterr().out
    assert main(["data", "prepare", "--source", "sample", "--out", str(tmp_path / "sample")]) == 0
    assert "paper" not in capsys.readouterr().out
    assert (tmp_path / "sample" / "statistics.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("words", [["--source", "sample"], ["--source", "x.jsonl", "--format", "pairs"]])
def test_strict_is_refused_where_there_is_nothing_to_compare_with(tmp_path, capsys, words):
    assert main(["data", "prepare", *words, "--out", str(tmp_path / "out"), "--strict"]) == 2
    assert "--strict compares with HelpSteer2 as released" in capsys.readouterr().err
