"""`hs2pref data inspect`: every kind of file by hand-made rows, the counts that it prints, and what it warns of."""

import gzip
import hashlib
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import chat_tokenizers
import pytest

from nemo_hs2pref.cli import main
from nemo_hs2pref.data.formats.aligner import read_rows
from nemo_hs2pref.data.formats.helpsteer2 import RELEASE
from nemo_hs2pref.data.inspection.kinds import KINDS, recognise
from nemo_hs2pref.data.inspection.paths import inspect_path
from nemo_hs2pref.data.inspection.reading import Sampling
from nemo_hs2pref.data.inspection.rendering import Renderer
from nemo_hs2pref.data.inspection.tally import Lengths, Reservoir
from nemo_hs2pref.data.reading.rows import Line
from nemo_hs2pref.data.records import Message, PreferencePair, RatedResponse, write_jsonl
from nemo_hs2pref.data.templates import extra_id, render
from nemo_hs2pref.errors import DataError

ASKED = (Message("user", "Which of the two is heavier?"),)
AFTER = (Message("user", "Hello."), Message("assistant", "Hi."), Message("user", "And now?"))
PAIRS = [
    PreferencePair("a", ASKED, "The gold.", "Feathers, of course.", 3, justification="@Response 2 is wrong."),
    PreferencePair("b", AFTER, "Now it is noon in Lisbon.", "Noon.", 1, None, {"helpfulness": 4}, {"helpfulness": 1}),
    PreferencePair("c", ASKED, "Neither.", "I cannot say.", 1, None, {"helpfulness": 2}, {"helpfulness": 2}),
    PreferencePair("d", ASKED, "Both.", "The same.", 0),
    PreferencePair("e", ASKED, "Yes", "Yea", 2),
]
RATED = [
    RatedResponse("a:1", (*ASKED, Message("assistant", "The gold.")), {"helpfulness": 4, "verbosity": 1}),
    RatedResponse("a:2", (*AFTER, Message("assistant", "Feathers, of course.")), {"helpfulness": 1}),
]
RATINGS = {"helpfulness": 4, "correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 2}


def write(path: Path, rows: list) -> Path:
    """Objects, or lines as they are."""
    path.parent.mkdir(exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def look(path: Path, *arguments: str) -> tuple[int, dict]:
    """Exit code and facts of --json."""
    printed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nemo_hs2pref.cli.data_inspect._print", printed.append)
        code = main(["data", "inspect", str(path), "--json", *arguments])
    return code, json.loads(printed[0])


def shown(capsys, path: Path, *arguments: str) -> str:
    main(["data", "inspect", str(path), "--no-plot", *arguments])
    return capsys.readouterr().out


@pytest.fixture
def pairs(tmp_path) -> Path:
    return write(tmp_path / "pairs.jsonl", [pair.to_json() for pair in PAIRS])


@pytest.fixture
def prepared(tmp_path) -> Path:
    """A folder as `data prepare` leaves it, with a table beside the rows."""
    folder = tmp_path / "prepared"
    folder.mkdir()
    write(folder / "pairs.train.jsonl", [pair.to_json() for pair in PAIRS])
    write(folder / "ratings.train.jsonl", [rated.to_json() for rated in RATED])
    (folder / "statistics.png").write_bytes(b"\x89PNG\n\n")
    outputs = {path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in folder.iterdir()}
    outputs["pairs.train.jsonl"] |= {"rows": 5, "dropped": {"tie": 7, "too_long": 0}}
    manifest = {"tool": "data prepare", "format": "pairs", "source": "x", "seed": 5, "outputs": outputs}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def byte_tokenizer(tmp_path_factory) -> str:
    """One token a byte, so that a text has as many tokens as bytes; and a BOS, which must not be counted."""
    tokenizer = chat_tokenizers.byte_tokenizer(["<s>"], bos_token="<s>")
    return chat_tokenizers.saved(tokenizer, tmp_path_factory.mktemp("tokenizer"))


# What is counted


def test_pairs_are_counted_by_hand(pairs):
    code, facts = look(pairs)
    (file,) = facts["files"]
    assert code == 0
    assert (file["kind"], file["rows"], file["several_turns"]) == ("preference pairs", 5, 1)
    assert file["bytes"] == len(pairs.read_bytes())
    assert file["sha256"] == hashlib.sha256(pairs.read_bytes()).hexdigest()
    assert file["strengths"] == {"0": 1, "1": 2, "2": 1, "3": 1}
    # a: 9 against 20 characters, b: 25 against 5, c: 8 against 13; d is a tie, the sides of e are equally long
    assert (file["unequal_lengths"], file["longer_preferred"]) == (3, 1)
    assert file["characters"]["chosen"] == {"number": 5, "median": 8, "p95": 25, "p99": 25, "max": 25}
    assert file["characters"]["prompt"]["median"] == len(ASKED[0].content)
    assert file["characters"]["prompt"]["max"] == len(ASKED[0].content)
    assert file["ratings"]["chosen"]["helpfulness"] == {"number": 2, "mean": 3.0, "rounded": {"2": 1, "4": 1}}
    assert file["ratings"]["rejected"]["helpfulness"]["mean"] == 1.5
    assert file["tokens"] == {}


def test_bundled_sample_has_the_counts_of_its_readme():
    code, facts = look(RELEASE.sample)
    files = {file["name"]: file for file in facts["files"]}
    assert code == 0
    assert {name: file["rows"] for name, file in files.items()} == {
        "preference/preference.jsonl": 188,
        "train.jsonl": 256,
        "validation.jsonl": 128,
    }
    preferences = files["preference/preference.jsonl"]
    assert preferences["strengths"] == {"-3": 29, "-2": 28, "-1": 31, "0": 10, "1": 25, "2": 33, "3": 32}
    assert (preferences["unequal_lengths"], preferences["longer_preferred"]) == (178, 89)
    assert preferences["several_turns"] == 56
    assert files["train.jsonl"]["ratings"]["response"].keys() == RATINGS.keys()


def test_tokens_are_those_of_the_rendered_text(pairs, byte_tokenizer):
    _, facts = look(pairs, "--tokenizer", byte_tokenizer)
    tokens = facts["files"][0]["tokens"]
    sizes = {
        side: sorted(len(render((*pair.prompt, Message("assistant", getattr(pair, side)))).encode()) for pair in PAIRS)
        for side in ("chosen", "rejected")
    }
    for side in sizes:
        assert tokens[side]["max"] == sizes[side][-1]
        assert tokens[side]["median"] == sizes[side][2]
    assert tokens["longer side"]["max"] == max(sizes["chosen"][-1], sizes["rejected"][-1])
    assert tokens["longer side"]["above"] == {"1024": 0, "2048": 0, "4096": 0, "8192": 0}


def test_limits_count_what_is_above_them(tmp_path, byte_tokenizer):
    empty = len(render((*ASKED, Message("assistant", "x"))).encode()) - 1
    lengths = (1024, 1025, 4096, 4097, 9000)
    rows = [PreferencePair(str(n), ASKED, "x" * (n - empty), "x", 1).to_json() for n in lengths]
    _, facts = look(write(tmp_path / "pairs.jsonl", rows), "--tokenizer", byte_tokenizer)
    chosen = facts["files"][0]["tokens"]["chosen"]
    assert chosen["above"] == {"1024": 4, "2048": 3, "4096": 2, "8192": 1}
    assert chosen["max"] == 9000


def test_only_a_sample_is_tokenised_and_the_text_says_so(pairs, byte_tokenizer, capsys):
    text = shown(capsys, pairs, "--tokenizer", byte_tokenizer, "--token-rows", "3", "--samples", "0")
    assert "tokens are those of 3 random rows, of the whole text by the template extra_id" in text


KNOWN_ROWS = {
    "rated responses": RATED[0].to_json(),
    "conversations": {"id": "a", "messages": RATED[0].to_json()["messages"]},
    "preference pairs": PAIRS[0].to_json(),
    "HelpSteer2 preferences as released": {
        "split": "val",
        "prompt": "p\n<extra_id_1>Assistant\nq\n<extra_id_1>User\nr",
        "response_1": "one",
        "response_2": "two",
        "preference_strength": -2,
    },
    "HelpSteer2 ratings as released": {"prompt": "p", "response": "r", **RATINGS},
    "annotations": {
        "id": "t",
        "prompt": "p",
        "response_1": "one",
        "response_2": "two",
        "annotations": [
            {"preference": -1, "ratings_1": {"helpfulness": 4}, "ratings_2": {"helpfulness": 1}, "justification": "J."},
            {"preference": -2, "ratings_1": {"helpfulness": 3}, "ratings_2": {"helpfulness": 1}},
        ],
    },
    "NeMo-Aligner rows": {
        "text": "<extra_id_0>System\ns\n<extra_id_1>User\nu",
        "label": [-100.0] * 4 + [4, 3, 4, 1, 2],
    },
    "prompts": {"id": "a", "prompt": [ASKED[0].to_json()]},
    "ShareGPT conversations": {"conversations": [{"from": "human", "value": "p"}, {"from": "gpt", "value": "r"}]},
    "NeMo-RL preferences": {
        "context": [ASKED[0].to_json()],
        "completions": [
            {"rank": rank, "completion": [{"role": "assistant", "content": text}]} for rank, text in enumerate("ab")
        ],
    },
    "HelpSteer3 preferences": {
        **{"domain": "code", "language": "python", "context": [ASKED[0].to_json()]},
        **{"response1": "one", "response2": "two", "overall_preference": -2},
    },
}


@pytest.mark.parametrize("name", KNOWN_ROWS)
def test_each_kind_is_known_by_its_keys_and_shown(tmp_path, name, capsys):
    path = write(tmp_path / "some.jsonl", [KNOWN_ROWS[name]])
    assert f"{path}: {name}, 1 rows" in shown(capsys, path)


def test_sign_of_a_released_strength_says_which_response_is_better(tmp_path, capsys):
    row = KNOWN_ROWS["HelpSteer2 preferences as released"] | {"response_2": "two words"}
    path = write(tmp_path / "preference.jsonl", [row, {**row, "preference_strength": 3}])
    assert look(path)[1]["files"][0]["longer_preferred"] == 1
    text = shown(capsys, path)
    assert "line 1: strength -2 (response 1 is better)" in text
    assert "line 2: strength 3 (response 2 is much better)" in text


def test_each_kind_has_a_row_here():
    assert KNOWN_ROWS.keys() == {kind.name for kind in KINDS}


def test_a_row_with_an_answer_is_not_taken_for_a_prompt():
    assert recognise([{"prompt": "p", "response": "r", "reference_helpfulness": 3}]) is None
    assert recognise([{"prompt": "p", "hash": "h"}]).name == "prompts"


def test_ratings_of_several_annotators_count_by_their_mean(tmp_path):
    rows = [{"prompt": "p", "response": "r", **RATINGS, "helpfulness": [4, 3, 3]}]
    _, facts = look(write(tmp_path / "disagreements.jsonl", rows))
    assert facts["files"][0]["ratings"]["response"]["helpfulness"]["mean"] == pytest.approx(10 / 3)


def test_first_slot_of_an_aligner_row_is_a_strength_where_it_stands_alone(tmp_path):
    labels = [[-2.0] + [-100.0] * 8, [2.0] + [-100.0] * 7 + [1.0], [1.5] + [-100.0] * 8]
    _, facts = look(write(tmp_path / "aligner.jsonl", [{"text": "t", "label": label} for label in labels]))
    (file,) = facts["files"]
    assert [fault["line"] for fault in file["first_faults"]] == [3]
    assert file["strengths"] == {"-2": 1}
    assert file["ratings"]["text"]["quality"]["mean"] == 2.0


def test_an_aligner_row_is_malformed_where_preparation_says_so(tmp_path):
    text = extra_id.render([*ASKED, Message("assistant", "yes")])
    labels = [[-100.0] * 9, [4.0] + [-100.0] * 8, [1.0] * 8, [-100.0] * 8 + [2.0]]
    path = write(tmp_path / "aligner.jsonl", [{"text": text, "label": label} for label in labels])
    seen = [(fault["line"], fault["fault"]) for fault in look(path)[1]["files"][0]["first_faults"]]
    lines = (Line(number, "", {"text": text, "label": label}) for number, label in enumerate(labels, start=1))
    assert seen == [(line.number, str(found)) for line, found in read_rows(lines, "x") if isinstance(found, DataError)]
    assert [number for number, _ in seen] == [1, 2, 3]


def test_pairs_whose_responses_are_messages_are_read(tmp_path):
    chosen, rejected = ([*ASKED, Message("assistant", text)] for text in ("yes", "no"))
    row = {"chosen": [each.to_json() for each in chosen], "rejected": [each.to_json() for each in rejected]}
    code, facts = look(write(tmp_path / "uf.jsonl", [row]))
    assert code == 0
    assert facts["files"][0]["characters"]["chosen"]["max"] == 3


def test_files_of_other_programs_need_no_ids_but_ours_do(tmp_path):
    rows = [{"prompt": "p", "hash": "1"}, {"prompt": "q", "hash": "2"}]
    assert look(write(tmp_path / "prompts.jsonl", rows))[0] == 0
    code, facts = look(write(tmp_path / "ours.jsonl", [{**rows[0], "id": "a"}, rows[1]]))
    assert code == 1
    assert facts["files"][0]["first_faults"] == [{"line": 2, "fault": 'no "id"; the keys are prompt, hash'}]


def test_rows_that_preparation_drops_are_counted_and_not_malformed(tmp_path):
    rows = [{"prompt": "p", "response": text, **RATINGS} for text in ("fine", " ")]
    rows.append({"prompt": "p\n<extra_id_1>User\nagain", "response": "r", **RATINGS})
    code, facts = look(write(tmp_path / "train.jsonl", rows))
    assert code == 0
    assert facts["files"][0]["unusable"] == {"bad_turns": 1, "empty_response": 1}
    assert facts["files"][0]["characters"]["response"]["number"] == 1


def test_real_rows_are_read(shared_data):
    _, facts = look(shared_data / "helpsteer2-samples")
    files = {file["name"]: file for file in facts["files"]}
    assert files["preference_pairs_with_attributes.jsonl"]["rows"] == 11
    assert files["preference_pairs_with_attributes.jsonl"]["strengths"]["-3"] == 2
    assert files["nemo-aligner-test-rm.jsonl"]["kind"] == "NeMo-Aligner rows"
    assert files["nemo-aligner-test-rm.jsonl"]["ratings"]["response"]["verbosity"]["mean"] == 2.5
    assert files["hs2.jsonl"]["unknown_keys"] == ["prompt", "response", "reference_helpfulness"]
    (prompts,) = look(shared_data / "helpsteer2-rl-prompts")[1]["files"]
    assert (prompts["kind"], prompts["rows"], prompts["malformed"]) == ("prompts", 2000, 0)


# What is warned of


def test_prepared_folder_agrees_with_its_manifest(prepared, capsys):
    code, facts = look(prepared)
    assert code == 0
    assert facts["is_prepared"] and all(file["as_in_manifest"] for file in facts["files"])
    text = shown(capsys, prepared)
    assert f"{prepared}: written by `hs2pref data prepare`, format pairs, source x, seed 5" in text
    assert "dropped in preparation: 7 tie\n" in text
    assert "statistics.png: 6 bytes, SHA-256 as in manifest.json" in text


@pytest.mark.parametrize("whole_folder", [True, False])
def test_a_file_that_was_edited_is_named(prepared, whole_folder, capsys):
    with (prepared / "pairs.train.jsonl").open("a") as file:
        file.write(json.dumps(PAIRS[0].to_json() | {"id": "f"}) + "\n")
    path = prepared if whole_folder else prepared / "pairs.train.jsonl"
    code, facts = look(path)
    assert code == 1
    assert [file["as_in_manifest"] for file in facts["files"]].count(False) == 1
    text = shown(capsys, path)
    assert "pairs.train.jsonl: preference pairs, 6 rows" in text
    assert text.count("warning: changed since it was prepared: its SHA-256 begins with") == 1
    assert "and 5 rows; prepare the folder again" in text


def test_missing_and_foreign_files_of_a_prepared_folder_are_named(prepared, capsys):
    (prepared / "ratings.train.jsonl").rename(prepared / "mine.jsonl")
    code, facts = look(prepared)
    assert (code, facts["missing"], facts["foreign"]) == (1, ["ratings.train.jsonl"], ["mine.jsonl"])
    text = shown(capsys, prepared)
    assert "warning: ratings.train.jsonl is missing" in text
    assert "warning: manifest.json does not name mine.jsonl" in text


def test_malformed_rows_are_counted_and_the_first_are_named(tmp_path, capsys):
    good = PAIRS[0].to_json()
    rows = ["{", good, {**good, "chosen": ""}, "", *["[]"] * 5, good]
    path = write(tmp_path / "pairs.jsonl", rows)
    code, facts = look(path)
    (file,) = facts["files"]
    assert (code, file["rows"], file["malformed"]) == (1, 9, 7)
    assert [fault["line"] for fault in file["first_faults"]] == [1, 3, 5, 6, 7]
    assert file["characters"]["chosen"]["number"] == 2
    text = shown(capsys, path)
    assert "warning: 7 malformed rows (77.8%); the first:" in text
    assert '    line 3: "chosen" is empty' in text


def test_gzip_file_that_breaks_off_is_shown_as_far_as_it_goes(tmp_path, capsys):
    rows = [PreferencePair(str(n), ASKED, f"{n * n}", f"no. {n}", 1).to_json() for n in range(5000)]
    packed = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(packed)
    assert look(path)[1]["files"][0]["rows"] == 5000
    path.write_bytes(packed[: len(packed) // 2])
    code, facts = look(path)
    assert code == 1
    assert 100 < facts["files"][0]["rows"] < 5000
    assert "broken gzip file after line" in facts["files"][0]["problem"]
    assert "broken gzip file after line" in shown(capsys, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file or folder"),
        ("\n \n", "has no rows; expected JSON lines"),
        ('{"a": 1, "b": 2}\n', "rows with the keys a, b are of no known kind; known are rated responses (messages,"),
        ("[\n  {\n", "path.jsonl: is a JSON array that breaks off or is malformed after row 0"),
    ],
)
def test_nothing_to_inspect_ends_in_one_sentence(tmp_path, capsys, content, message):
    path = tmp_path / "path.jsonl"
    if content is not None:
        path.write_text(content)
    assert main(["data", "inspect", str(path), "--no-plot"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_folder_without_rows_ends_in_one_sentence(tmp_path, capsys):
    assert main(["data", "inspect", str(tmp_path), "--no-plot"]) == 2
    assert "has neither manifest.json nor a file that ends in .jsonl, .jsonl.gz, .parquet" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--samples", "-1"], ["--token-rows", "0"], ["--template", "tokenizer"]])
def test_wrong_arguments_end_before_anything_is_read(wrong, capsys):
    assert main(["data", "inspect", "absent", "--no-plot", *wrong]) == 2
    assert "absent" not in capsys.readouterr().err


# What is shown


def test_a_sample_is_what_a_model_reads_with_its_sides_named(pairs, byte_tokenizer, capsys):
    text = shown(capsys, pairs, "--samples", "5", "--tokenizer", byte_tokenizer)
    (sample,) = (part for part in text.split("== ") if part.startswith(f"{pairs}, line 2: b, strength 1"))
    tokens = [len(render(side.messages).encode()) for side in PAIRS[1].conversations()]
    assert sample.rstrip() == (
        f"{pairs}, line 2: b, strength 1 (slightly better)\n"
        "-- prompt\n"
        "| <extra_id_0>System\n"
        "| A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions.\n"
        "| <extra_id_1>User\n"
        "| Hello.\n"
        "| <extra_id_1>Assistant\n"
        "| Hi.\n"
        "| <extra_id_1>User\n"
        "| And now?\n"
        "| <extra_id_1>Assistant\n"
        f"-- chosen, 25 characters, {tokens[0]} tokens with the prompt, helpfulness 4\n"
        "| Now it is noon in Lisbon.\n"
        "| <extra_id_2>\n"
        f"-- rejected, 5 characters, {tokens[1]} tokens with the prompt, helpfulness 1\n"
        "| Noon.\n"
        "| <extra_id_2>"
    )
    assert "-- justification\n| @Response 2 is wrong." in text


def test_samples_depend_on_the_seed_alone(tmp_path, capsys):
    rows = [PreferencePair(f"id{n}", ASKED, "a", "b", 1).to_json() for n in range(100)]
    path = write(tmp_path / "pairs.jsonl", rows)
    once, again, other = (shown(capsys, path, "--seed", seed) for seed in ("1", "1", "2"))
    assert once == again != other
    assert once.count("\n== ") == 2


def test_long_texts_lose_their_middle_and_say_how_much(tmp_path, capsys):
    response = "".join(f"{number:04d}\n" for number in range(1000))
    path = write(tmp_path / "pairs.jsonl", [PreferencePair("a", ASKED, response, "b", 1).to_json()])
    text = shown(capsys, path)
    whole = len(response) + len("\n<extra_id_2>")
    assert f"| [... {whole - 1000:,} characters left out, --full shows them ...]" in text
    assert "| 0000\n" in text and "| 0999\n" in text and "| 0500\n" not in text
    assert "| 0500\n" in shown(capsys, path, "--full")


def test_text_cannot_steer_the_terminal(tmp_path, capsys):
    row = PreferencePair("a\x1b]0;", ASKED, "red \x1b[31m\x9b", "b", 1).to_json()
    text = shown(capsys, write(tmp_path / "pairs.jsonl", [row]))
    assert "\x1b" not in text and "\x9b" not in text
    assert "| red \\x1b[31m\\x9b\n" in text


def test_a_text_that_the_template_refuses_is_counted_and_named(tmp_path, byte_tokenizer, capsys):
    rows = [PreferencePair(str(n), ASKED, answer, "b", 1).to_json() for n, answer in enumerate(["<|im_end|>", "fine"])]
    tokenizer = chat_tokenizers.saved(chat_tokenizers.chatml(), tmp_path / "tokenizer")
    path = write(tmp_path / "pairs.jsonl", rows)
    text = shown(capsys, path, "--template", "tokenizer", "--tokenizer", tokenizer)
    assert "warning: the template refuses 1 random rows; the first: message 2, of the assistant" in text
    assert "tokens are those of 1 random rows" in text
    assert "   not rendered: message 2" in text


def test_lengths_are_in_characters_without_a_tokenizer(pairs, capsys):
    assert "Lengths are in characters; --tokenizer PATH counts tokens." in shown(capsys, pairs)


# The picture


def test_picture_is_written_here_unless_it_is_not_wanted(pairs, tmp_path, monkeypatch, capsys):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    main(["data", "inspect", str(pairs), "--no-plot"])
    main(["data", "inspect", str(pairs), "--json"])
    assert not list(here.iterdir())
    main(["data", "inspect", str(pairs)])
    assert (here / "inspect.png").read_bytes().startswith(b"\x89PNG")
    assert "Picture: inspect.png" in capsys.readouterr().out
    main(["data", "inspect", str(RELEASE.sample), "--plot", "other.png", "--json"])
    assert {path.name for path in here.iterdir()} == {"inspect.png", "other.png"}


def test_picture_has_a_row_for_each_file_whichever_its_kind(tmp_path, byte_tokenizer):
    for number, row in enumerate(KNOWN_ROWS.values()):
        write(tmp_path / "data" / f"{number}.jsonl", [row])
    pictures = [tmp_path / "characters.png", tmp_path / "tokens.png"]
    assert main(["data", "inspect", str(tmp_path / "data"), "--plot", str(pictures[0])]) == 0
    main(["data", "inspect", str(tmp_path / "data"), "--plot", str(pictures[1]), "--tokenizer", byte_tokenizer])
    for picture in pictures:
        height = int.from_bytes(picture.read_bytes()[20:24], "big")
        assert height == pytest.approx(110 * 3.4 * len(KNOWN_ROWS), abs=1)


def test_picture_does_not_lie_in_the_inspected_folder(pairs, monkeypatch, capsys):
    (pairs.parent / "below").mkdir()
    monkeypatch.chdir(pairs.parent / "below")
    assert main(["data", "inspect", ".."]) == 0
    assert "no picture: inspect.png would lie among the data" in capsys.readouterr().err
    assert not list(Path().iterdir())


def test_picture_never_lies_in_a_prepared_folder(prepared, monkeypatch, capsys):
    monkeypatch.chdir(prepared)
    before = {path.name for path in prepared.iterdir()}
    assert main(["data", "inspect", "."]) == 0
    assert "no picture: inspect.png would lie among the data" in capsys.readouterr().err
    assert main(["data", "inspect", "pairs.train.jsonl", "--plot", "x.png"]) == 2
    assert main(["data", "inspect", str(RELEASE.sample), "--plot", "x.png"]) == 2
    assert {path.name for path in prepared.iterdir()} == before


def test_without_matplotlib_one_sentence_takes_the_place_of_the_picture(pairs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "nemo_hs2pref.plots.inspection", None)
    assert main(["data", "inspect", str(pairs)]) == 0
    assert "no picture: the package `matplotlib` is missing" in capsys.readouterr().err


# Size


def measured(path: Path) -> int:
    """Peak of the memory that Python allocates, bytes."""
    tracemalloc.start()
    inspect_path(path, Sampling(samples=2, token_rows=100, seed=1), Renderer())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_file(tmp_path):
    lines = [json.dumps(PreferencePair(f"{n}", ASKED, "x" * (n % 5000), "y", 1).to_json()) for n in range(1, 5001)]
    small, large = write(tmp_path / "small.jsonl", lines), write(tmp_path / "large.jsonl", lines * 6)
    assert large.stat().st_size > 60e6
    assert measured(large) < 1.1 * measured(small) < 6e6


def test_lengths_have_few_counters_and_quantiles_within_a_thousandth():
    lengths = Lengths(range(1, 200_001))
    assert len(lengths.counts) < 11_000
    for share in (0.001, 0.5, 0.95, 1):
        assert lengths.quantile(share) == pytest.approx(200_000 * share, rel=1e-3)
    assert lengths.quantile(1) == lengths.max == 200_000
    assert lengths.above(4096) == 200_000 - 4096
    assert Lengths([3, 1, 2]).quantile(0.5) == 2 and Lengths().quantile(0.5) == 0


def test_every_item_has_the_same_chance_to_be_kept():
    kept = [0] * 10
    for seed in range(3000):
        reservoir = Reservoir(3, seed)
        for item in range(10):
            reservoir.add(item)
        items = reservoir.items()
        assert items == sorted(items) and len(items) == 3
        for item in items:
            kept[item] += 1
    assert all(abs(times - 900) < 5 * 25 for times in kept)  # 5 standard deviations of 3000 draws at 0.3


def test_reader_that_ends_early_is_no_error(pairs):
    command = f"set -o pipefail; {sys.executable} -m nemo_hs2pref.cli data inspect {pairs} --no-plot | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert (done.returncode, done.stderr) == (0, "")


def test_parquet_says_what_the_same_json_lines_say(tmp_path, capsys):
    from pyarrow import Table as Arrow
    from pyarrow import parquet

    rows = [{"prompt": f"Why {n}?", "chosen": "So." * n, "rejected": "No."} for n in range(1, 30)]
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    parquet.write_table(Arrow.from_pylist(rows), tmp_path / "pairs.parquet")
    facts = []
    for name in ("pairs.jsonl", "pairs.parquet"):
        assert main(["data", "inspect", str(tmp_path / name), "--json"]) == 0
        (found,) = json.loads(capsys.readouterr().out)["files"]
        facts.append({key: value for key, value in found.items() if key not in ("name", "bytes", "sha256")})
    assert facts[0] == facts[1] and facts[0]["rows"] == 29
