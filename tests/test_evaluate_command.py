"""`hs2pref evaluate`: what it writes, from a model or from scores, and what it refuses."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from stand_in import StandIn

from nemo_hs2pref import __version__
from nemo_hs2pref.checkpoint.identity import identity_of
from nemo_hs2pref.cli import main
from nemo_hs2pref.data.records import Conversation, Message, PreferencePair, write_jsonl
from nemo_hs2pref.evaluation.scores import Score, TooLong
from nemo_hs2pref.evaluation.tasks import conversations_of

PROMPT = (Message("user", "Why?"),)
PAIRS = [PreferencePair(f"p{n}", PROMPT, "c" * chosen, "r" * rejected, strength) for n, (chosen, rejected, strength) in
         enumerate([(5, 3, 3), (4, 6, 1), (9, 2, 2), (7, 1, 2)])]  # fmt: skip
ITEMS = [
    {"id": f"{name}:{n}", "prompt": "Why?", "chosen": chosen, "rejected": ["x"], "subset": subset}
    for n, (name, chosen, subset) in enumerate(
        [("m", ["abc"], "Math"), ("f", ["ab"], "Focus"), ("ref", ["abcd"], "Ties"), ("s", [""], "Safety")]
    )
]


def by_length(row: Conversation) -> float:
    return float(len(row.messages[-1].content))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write_jsonl(tmp_path / "pairs.jsonl", (pair.to_json() for pair in PAIRS))
    return tmp_path / "pairs.jsonl"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    model = StandIn(by_length)
    monkeypatch.setattr("nemo_hs2pref.scoring.open_scorer", model.open)
    return model


def evaluate(benchmark: str, rows: Path, out: Path, *words: str) -> int:
    return main(["evaluate", benchmark, "--input", str(rows), "--out", str(out), *words])


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_folder_has_the_pairs_with_their_rewards_in_order(tmp_path, pairs, model):
    assert evaluate("preferences", pairs, tmp_path / "out", "--model", "ckpt") == 0
    assert lines(tmp_path / "out" / "scored_pairs.jsonl") == [
        {**pair.to_json(), "chosen_reward": len(pair.chosen), "rejected_reward": len(pair.rejected)} for pair in PAIRS
    ]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["accuracy"] == summary["length_only_accuracy"] == 0.75
    assert summary["scores"] is None and summary["left_out_long"] == 0


def test_a_summary_says_which_model_it_is_of_and_who_wrote_it(tmp_path, pairs, model):
    write_jsonl(tmp_path / "ckpt" / "hs2pref.json", [{"step": 200}])
    assert evaluate("preferences", pairs, tmp_path / "out", "--model", str(tmp_path / "ckpt")) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["checkpoint"] == identity_of(tmp_path / "ckpt") == {"step": 200, "weights": ""}
    assert summary["tool_version"] == __version__


def test_a_summary_has_whole_paths_as_it_is_read_from_anywhere(tmp_path, pairs, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert evaluate("preferences", pairs, Path("first"), "--model", "ckpt") == 0
    assert evaluate("preferences", pairs, Path("out"), "--scores", "first/scores.jsonl", "--baseline", "first") == 0
    first, second = (json.loads(Path(name, "summary.json").read_text()) for name in ("first", "out"))
    here = tmp_path.resolve()
    assert (first["model"], first["scores"], first["baseline"]) == (str(here / "ckpt"), None, None)
    assert (second["model"], second["scores"]) == (None, str(here / "first" / "scores.jsonl"))
    assert second["baseline"] == str(here / "first")


def test_goodness_makes_the_reward_of_the_attributes(tmp_path, pairs, model, monkeypatch):
    """Nemotron-4-340B's weights count verbosity -0.33 times: with nothing else known of value, the order turns."""
    rest = dict.fromkeys(["helpfulness", "correctness", "coherence", "complexity"], 1.0)

    def score(rows: list[Conversation]) -> list[Score]:
        return [Score(row.id, 0.0, {**rest, "verbosity": by_length(row)}) for row in rows]

    monkeypatch.setattr(model, "score", score)
    monkeypatch.setattr(model, "attributes", [*rest, "verbosity"])
    assert evaluate("preferences", pairs, tmp_path / "out", "--model", "ckpt", "--goodness", "nemotron-4-340b") == 0
    scored = lines(tmp_path / "out" / "scored_pairs.jsonl")
    assert scored[0]["chosen_reward"] == pytest.approx(0.3 + 0.74 + 0.46 + 0.47 - 0.33 * 5)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["accuracy"] == 0.25


@pytest.fixture
def standardized(tmp_path, pairs) -> Path:
    """Standardized scores of rated pairs."""
    rated = [replace(pair, chosen_attributes={"verbosity": 2}, rejected_attributes={"verbosity": 1}) for pair in PAIRS]
    write_jsonl(pairs, (pair.to_json() for pair in rated))
    sides = conversations_of(PAIRS)
    scores = [Score(side.id, by_length(side) - 4, {"verbosity": 0.5 + by_length(side)}, True) for side in sides]
    write_jsonl(tmp_path / "standardized.jsonl", (score.to_json() for score in scores))
    return tmp_path / "standardized.jsonl"


def test_standardized_scores_are_not_compared_with_ratings_and_it_is_said(tmp_path, pairs, standardized, capsys):
    assert evaluate("preferences", pairs, tmp_path / "out", "--scores", str(standardized)) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["standardized"] is True and summary["attributes"] == {} and summary["accuracy"] == 0.75
    assert "attributes are not compared with ratings" in capsys.readouterr().out
    assert all(row["standardized"] for row in lines(tmp_path / "out" / "scores.jsonl"))


def test_goodness_of_standardized_scores_is_refused(tmp_path, pairs, standardized, capsys):
    words = ["--scores", str(standardized), "--goodness", "helpfulness"]
    assert evaluate("preferences", pairs, tmp_path / "out", *words) == 2
    assert "--goodness helpfulness: the scores are standardized; score the rows without" in capsys.readouterr().err


def test_scores_of_which_some_are_standardized_are_refused(tmp_path, pairs, standardized, capsys):
    first, *rest = lines(standardized)
    write_jsonl(standardized, [{key: first[key] for key in ("id", "reward", "attributes")}, *rest])
    assert evaluate("preferences", pairs, tmp_path / "out", "--scores", str(standardized)) == 2
    assert "7 of 8 scores are standardized; score all rows in one way" in capsys.readouterr().err


def test_baseline_is_compared_pair_by_pair(tmp_path, pairs, model, capsys):
    assert evaluate("preferences", pairs, tmp_path / "length", "--model", "ckpt") == 0
    write_jsonl(tmp_path / "right.jsonl", (
        {"id": side.id, "reward": float(side.id.endswith("chosen"))} for side in conversations_of(PAIRS)
    ))  # fmt: skip
    words = ["--scores", str(tmp_path / "right.jsonl"), "--baseline", str(tmp_path / "length")]
    assert evaluate("preferences", pairs, tmp_path / "out", *words) == 0
    comparison = json.loads((tmp_path / "out" / "summary.json").read_text())["comparison"]
    assert (comparison["only_model"], comparison["only_baseline"], comparison["p_value"]) == (1, 0, 1.0)
    assert "100.0% against 75.0% of 4 pairs" in capsys.readouterr().out


@pytest.fixture
def told_first(pairs: Path, model: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The message of an evaluation that must stop before any row is scored."""

    def message(*words: str, out: Path = tmp_path / "out") -> str:
        model.asked.clear()
        assert evaluate("preferences", pairs, out, "--model", "ckpt", *words) == 2
        assert model.asked == []
        return capsys.readouterr().err

    return message


def test_a_baseline_of_another_file_with_the_same_ids_is_told_before_anything_is_scored(
    tmp_path, pairs, model, told_first
):
    assert evaluate("preferences", pairs, tmp_path / "length", "--model", "ckpt") == 0
    write_jsonl(pairs, (replace(pair, chosen=pair.chosen[::-1] + "!").to_json() for pair in PAIRS))
    file = tmp_path / "length" / "scores.jsonl"
    assert f"--baseline {file}: scores of another file" in told_first("--baseline", str(file.parent))
    assert f"--baseline {file}: scores of another file" in told_first("--baseline", str(file))
    alone = file.rename(tmp_path / "scores.jsonl")  # of which nobody knows what was scored
    assert evaluate("preferences", pairs, tmp_path / "out", "--model", "ckpt", "--baseline", str(alone)) == 0


def test_scores_of_another_file_with_the_same_ids_are_refused(tmp_path, pairs, model, capsys):
    assert evaluate("preferences", pairs, tmp_path / "length", "--model", "ckpt") == 0
    scores = tmp_path / "length" / "scores.jsonl"
    assert evaluate("preferences", pairs, tmp_path / "again", "--scores", str(scores)) == 0
    swapped = tmp_path / "swapped.jsonl"
    write_jsonl(swapped, (replace(pair, chosen=pair.rejected, rejected=pair.chosen).to_json() for pair in PAIRS))
    assert evaluate("preferences", swapped, tmp_path / "out", "--scores", str(scores)) == 2
    assert f"--scores {scores}: scores of another file, {pairs}, or of an older" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_baseline_that_is_not_there_or_not_whole_is_told_before_anything_is_scored(tmp_path, pairs, told_first):
    assert "nowhere: not found; expected the folder of an evaluation" in told_first(
        "--baseline", str(tmp_path / "nowhere")
    )
    assert "no whole evaluation" in told_first("--baseline", str(tmp_path))
    for name, content in (("scores.jsonl", ""), ("summary.json", '{"input": ')):
        (tmp_path / name).write_text(content)
    assert "summary.json: not JSON" in told_first("--baseline", str(tmp_path))


def test_goodness_of_attributes_that_the_model_lacks_is_told_before_anything_is_scored(told_first):
    message = told_first("--goodness", "llama3-70b")
    assert "no helpfulness, correctness, coherence, complexity among the attributes (verbosity)" in message


@pytest.mark.parametrize(
    ("benchmark", "changes", "message"),
    [
        ("preferences", {"strength": 0}, "no pairs to evaluate among 4 rows; expected at least one with a preferred"),
        ("rewardbench", {"subset": "other"}, "4 of 4 pairs belong to no subset of RewardBench"),
    ],
)
def test_rows_of_which_nothing_comes_are_told_before_anything_is_scored(
    tmp_path, pairs, model, capsys, benchmark, changes, message
):
    write_jsonl(pairs, (replace(pair, **changes).to_json() for pair in PAIRS))
    assert evaluate(benchmark, pairs, tmp_path / "out", "--model", "ckpt") == 2
    assert message in capsys.readouterr().err
    assert model.opened == []


def test_a_file_without_rows_is_called_so_and_not_blamed_on_the_scores(tmp_path, pairs, model, capsys):
    assert evaluate("preferences", pairs, tmp_path / "length", "--model", "ckpt") == 0
    (tmp_path / "empty.jsonl").touch()
    words = ["--scores", str(tmp_path / "length" / "scores.jsonl")]
    assert evaluate("preferences", tmp_path / "empty.jsonl", tmp_path / "out", *words) == 2
    assert "empty.jsonl: has no rows; expected at least one pair" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_file_in_the_place_of_the_folder_is_told_before_anything_is_scored(tmp_path, told_first, out):
    (tmp_path / "file").touch()
    assert f"{tmp_path / 'file'} is a file; name a folder" in told_first(out=tmp_path / out)


@pytest.mark.parametrize("length", ["0", "-5"])
def test_a_longest_row_of_no_tokens_is_refused(tmp_path, pairs, model, capsys, length):
    with pytest.raises(SystemExit, match="2"):
        evaluate("preferences", pairs, tmp_path / "out", "--model", "ckpt", "--max-length", length)
    assert f"--max-length: {length}; expected 1 or more" in capsys.readouterr().err


@pytest.fixture
def longest(model, monkeypatch) -> dict[str, float]:
    """The model takes rows of so many characters; p0 and p1 alone have no more than 6."""
    score, longest = model.score, {"characters": 6.0}

    def refuse(rows: list[Conversation]) -> list[Score]:
        if long := [row.id for row in rows if by_length(row) > longest["characters"]]:
            raise TooLong(f"{len(long)} rows are too long", long)
        return score(rows)

    monkeypatch.setattr(model, "score", refuse)
    return longest


@pytest.mark.parametrize(("characters", "baseline_characters"), [(6.0, 99.0), (99.0, 6.0)])
def test_models_that_left_out_other_rows_are_compared_on_those_that_both_have(
    tmp_path, pairs, longest, capsys, characters, baseline_characters
):
    words = ["--model", "ckpt", "--leave-out-long"]
    longest["characters"] = baseline_characters
    assert evaluate("preferences", pairs, tmp_path / "first", *words) == 0
    longest["characters"] = characters
    assert evaluate("preferences", pairs, tmp_path / "out", *words, "--baseline", str(tmp_path / "first")) == 0
    assert "50.0% against 50.0% of 2 pairs" in capsys.readouterr().out


def test_a_baseline_that_lacks_rows_for_no_reason_is_told_before_anything_is_scored(tmp_path, pairs, model, told_first):
    assert evaluate("preferences", pairs, tmp_path / "length", "--model", "ckpt") == 0
    scores = tmp_path / "length" / "scores.jsonl"
    write_jsonl(scores, lines(scores)[2:])
    assert "2 missing (p0:chosen, p0:rejected)" in told_first("--baseline", str(tmp_path / "length"))


def test_long_rows_stop_or_are_left_out_and_counted(tmp_path, pairs, longest, capsys):
    assert evaluate("preferences", pairs, tmp_path / "out", "--model", "ckpt") == 2
    assert "2 rows are too long" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert evaluate("preferences", pairs, tmp_path / "out", "--model", "ckpt", "--leave-out-long") == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["pairs"], summary["left_out_long"], summary["input"]["rows"]) == (2, 2, 4)
    assert [row["id"] for row in lines(tmp_path / "out" / "scored_pairs.jsonl")] == ["p0", "p1"]
    assert "2 of 4 rows left out" in capsys.readouterr().out


def test_rewardbench_2_scores_every_completion_of_a_prompt(tmp_path, model, capsys):
    write_jsonl(tmp_path / "items.jsonl", ITEMS)
    assert evaluate("rewardbench", tmp_path / "items.jsonl", tmp_path / "out", "--version", "2", "--model", "m") == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["benchmark"] == "rewardbench2" and summary["overall"] is None
    assert {name: domain["score"] for name, domain in summary["domains"].items()} == {
        "Math": 1.0,
        "Safety": 0.0,
        "Focus": 1.0,
    }
    assert (summary["pairs"], summary["accuracy"], summary["empty_responses"]) == (4, 0.75, 1)
    assert [row["chosen"] for row in lines(tmp_path / "out" / "scored_pairs.jsonl")] == ["abc", "ab", "abcd", ""]
    assert "not scored: Overall, which lacks Factuality, Precise IF, Ties" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--version", "2", "--prior-sets"], "--prior-sets: RewardBench 2 has none"),
        (["--version", "2", "--baseline", "x"], "--baseline compares on pairs"),
        ([], 'unknown subset "Math"|"chosen" is'),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, model, capsys, words, message):
    write_jsonl(tmp_path / "items.jsonl", ITEMS)
    assert evaluate("rewardbench", tmp_path / "items.jsonl", tmp_path / "out", "--model", "m", *words) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out" / "summary.json").exists()


def test_an_evaluation_that_fails_leaves_no_older_summary(tmp_path, pairs, model, monkeypatch, capsys):
    """A folder with a summary is whole: the summary goes first and comes last."""
    assert evaluate("preferences", pairs, tmp_path / "out", "--model", "ckpt") == 0
    monkeypatch.setattr(
        "nemo_hs2pref.evaluation.outcome.write_jsonl", lambda *_: (_ for _ in ()).throw(OSError("full"))
    )
    assert evaluate("preferences", pairs, tmp_path / "out", "--model", "ckpt") == 1
    assert "OSError: full" in capsys.readouterr().err
    assert not (tmp_path / "out" / "summary.json").exists()
