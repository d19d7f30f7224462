"""Standardization: its numbers, the checkpoint's manifest, and the commands with a stand-in for the model."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stand_in import StandIn

from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.checkpoint.layout import STANDARDIZATION
from nemo_hs2pref.checkpoint.standardization import store, stored
from nemo_hs2pref.cli import main
from nemo_hs2pref.data.records import Message, PreferencePair, write_jsonl
from nemo_hs2pref.errors import CheckpointError, DataError
from nemo_hs2pref.evaluation.preferences import evaluate_pairs
from nemo_hs2pref.evaluation.scores import Score, read_scores, rewards
from nemo_hs2pref.evaluation.standardization import measure, standardized


def scored(*rewards: float, attribute: float = -2.0) -> list[Score]:
    """Scores whose one attribute is the reward times `attribute`."""
    return [Score(f"r{i}", x, {"verbosity": attribute * x}) for i, x in enumerate(rewards)]


# The numbers


def test_figures_of_four_rows_worked_out_by_hand():
    """1, 2, 3, 6: mean 12 / 4 = 3; squared distances 4 + 1 + 0 + 9 = 14, divided by 4 and not by 3."""
    measured = measure(scored(1.0, 2.0, 3.0, 6.0))
    assert measured["rows"] == 4
    assert measured["reward"] == {"mean": 3.0, "std": pytest.approx(math.sqrt(14 / 4), rel=1e-15)}
    assert measured["attributes"] == {"verbosity": {"mean": -6.0, "std": pytest.approx(2 * math.sqrt(14 / 4))}}


def test_reward_and_each_attribute_are_divided_by_their_own_std():
    figures = {"reward": {"mean": 1.0, "std": 2.0}, "attributes": {"a": {"mean": -1.0, "std": 0.5}}}
    assert standardized(Score("x", 4.0, {"a": 0.0}), figures) == Score("x", 1.5, {"a": 2.0}, True)


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=20, unique=True))
def test_measured_rows_get_mean_0_and_std_1(eighths):
    rows = scored(*(x / 8 for x in eighths))
    again = measure([standardized(row, measure(rows)) for row in rows])
    for moments in (again["reward"], again["attributes"]["verbosity"]):
        assert moments == {"mean": pytest.approx(0, abs=1e-9), "std": pytest.approx(1, abs=1e-9)}


# as far apart as float32 keeps them around 8; what float64 alone tells apart, the subtraction may make equal
REWARDS = st.tuples(*[st.integers(-(2**23), 2**23).map(lambda x: x * 2.0**-20)] * 6)


@given(REWARDS.filter(lambda rewards: max(rewards) - min(rewards) > 0.1))
def test_accuracy_and_ties_do_not_change(rewards):
    pairs = [PreferencePair(f"p{i}", (Message("user", "Why?"),), "yes", "no", 1) for i in range(3)]
    ids = [side.id for pair in pairs for side in pair.conversations()]
    scores = scored(*rewards)
    figures = measure(scores)
    before = evaluate_pairs(pairs, dict(zip(ids, rewards, strict=True)))
    divided = [standardized(score, figures).reward for score in scores]
    after = evaluate_pairs(pairs, dict(zip(ids, divided, strict=True)))
    assert (after.accuracy, after.ties) == (before.accuracy, before.ties)


# 0.1 has no exact mean in float64, and the last two differ by less than float32 tells apart
@pytest.mark.parametrize("rewards", [(0.0, 0.0), (0.1,) * 3, (3.0, 3.0 + 2**-22)])
def test_equal_rewards_are_refused(rewards):
    with pytest.raises(DataError, match=rf"reward is {rewards[0]:g} for all {len(rewards)} rows, so there is no std"):
        measure(scored(*rewards))


def test_an_attribute_that_is_always_the_same_is_named():
    with pytest.raises(DataError, match="verbosity is 0 for all 2 rows"):
        measure(scored(1.0, 2.0, attribute=0.0))


@pytest.mark.parametrize("fault", [{"reward": math.nan}, {"attributes": {"verbosity": math.inf}}])
def test_values_that_are_not_finite_are_refused(fault):
    first, second, third = scored(1.0, 2.0, 3.0)
    with pytest.raises(DataError, match="1 of 3 rows have a reward or attribute that is not finite, 'r1' first"):
        measure([first, replace(second, **fault), third])


# In the checkpoint


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """What is read of a checkpoint before its weights are; written by others, so without a manifest."""
    folder = tmp_path / "ckpt"
    (folder / layout.WEIGHTS).mkdir(parents=True)
    (folder / layout.WEIGHTS / "metadata.json").touch()
    (folder / layout.CONFIG).write_text("num_layers: 2\n")
    return folder


@pytest.fixture
def rows_file(tmp_path) -> Path:
    messages = [{"role": "user", "content": "Why?"}]
    texts = {"a": "1", "b": "22", "c": "333", "d": "666666"}
    rows = ({"id": i, "messages": [*messages, {"role": "assistant", "content": text}]} for i, text in texts.items())
    write_jsonl(tmp_path / "rows.jsonl", rows)
    return tmp_path / "rows.jsonl"


def test_figures_are_stored_beside_what_the_manifest_holds_and_replaced(checkpoint, rows_file):
    manifest = {"step": 3, "metrics": {"val_loss": math.nan}}
    layout.write_manifest(checkpoint, manifest)
    store(checkpoint, measure(scored(9.0, 1.0)), rows_file)
    store(checkpoint, measure(scored(1.0, 2.0, 3.0, 6.0)), rows_file)
    found = opening.read_manifest(checkpoint)
    assert found["step"] == 3 and found.keys() == {"step", "metrics", STANDARDIZATION}
    digest = hashlib.sha256(rows_file.read_bytes()).hexdigest()
    assert found[STANDARDIZATION] == {
        "rows": 4, "input": {"name": str(rows_file), "sha256": digest}, **measure(scored(1.0, 2.0, 3.0, 6.0))
    }  # fmt: skip
    assert sorted(path.name for path in checkpoint.iterdir()) == [layout.MANIFEST, layout.CONFIG, layout.WEIGHTS]


def test_a_manifest_is_left_whole_when_writing_fails(checkpoint, rows_file, monkeypatch):
    layout.write_manifest(checkpoint, {"step": 3})
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(CheckpointError, match=r"hs2pref\.json: cannot be written \(No space left on device\)"):
        store(checkpoint, measure(scored(1.0, 2.0)), rows_file)
    assert opening.read_manifest(checkpoint) == {"step": 3}
    assert len(list(checkpoint.iterdir())) == 3


def test_a_checkpoint_without_figures_names_the_command(checkpoint):
    with pytest.raises(CheckpointError, match=rf"ckpt: no mean and std .*`hs2pref standardize --model {checkpoint} "):
        stored(checkpoint)


def test_figures_in_aligners_model_config_are_not_passed_on(checkpoint):
    """A checkpoint of Aligner's critic has them; a run or an extrapolation that starts from it has other rewards."""
    (checkpoint / layout.CONFIG).write_text("num_layers: 2\nreward_standardization: {enable: true, mean: 1, std: 2}\n")
    assert opening.read_config(checkpoint) == {"num_layers": 2}


# The commands


@pytest.fixture
def model(monkeypatch) -> StandIn:
    """A response's reward is its length."""
    model = StandIn(lambda row: float(len(row.messages[-1].content)))
    monkeypatch.setattr("nemo_hs2pref.scoring.open_scorer", model.open)
    return model


def test_standardize_then_score(checkpoint, rows_file, model, tmp_path, capsys):
    assert main(["standardize", "--model", str(checkpoint), "--input", str(rows_file)]) == 0
    assert f"{checkpoint}: reward mean 3, std 1.87083 over 4 responses, stored" in capsys.readouterr().out
    assert stored(checkpoint)["reward"]["mean"] == 3.0

    output = tmp_path / "scores.jsonl"
    words = ["score", "--model", str(checkpoint), "--input", str(rows_file), "--output", str(output)]
    assert main([*words, "--standardize"]) == 0
    std = math.sqrt(14 / 4)
    assert rewards(read_scores(output)) == pytest.approx({"a": -2 / std, "b": -1 / std, "c": 0, "d": 3 / std})
    assert [json.loads(line).keys() for line in output.read_text().splitlines()] == [
        {"id", "reward", "attributes", "standardized"}
    ] * 4
    assert main(words) == 0  # figures that are stored change nothing unless asked for
    assert rewards(read_scores(output)) == {"a": 1, "b": 2, "c": 3, "d": 6}


def test_both_sides_of_pairs_are_measured(checkpoint, model, tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    write_jsonl(pairs, [{"id": "p", "prompt": "Why?", "chosen": "four", "rejected": "no"}])
    assert main(["standardize", "--model", str(checkpoint), "--input", str(pairs)]) == 0
    assert stored(checkpoint)["rows"] == 2
    assert stored(checkpoint)["reward"] == {"mean": 3.0, "std": 1.0}


def test_score_without_figures_stops_before_the_model_is_loaded(checkpoint, rows_file, model, tmp_path, capsys):
    words = ["--model", str(checkpoint), "--input", str(rows_file), "--output", str(tmp_path / "s.jsonl")]
    for layout_words in ([], ["--tensor-parallel", "2"]):  # nor are processes started for it
        assert main(["score", "--standardize", *words, *layout_words]) == 2
        assert "hs2pref standardize" in capsys.readouterr().err
    assert not model.opened


def test_one_response_stops_before_the_model_is_loaded(checkpoint, rows_file, model, capsys):
    rows_file.write_text(rows_file.read_text().splitlines()[0] + "\n")
    assert main(["standardize", "--model", str(checkpoint), "--input", str(rows_file)]) == 2
    assert f"{rows_file}: has 1 response; a standard deviation needs at least 2" in capsys.readouterr().err
    assert not model.opened


def test_a_reward_that_is_no_number_leaves_the_figures_as_they_were(checkpoint, rows_file, model, capsys):
    words = ["standardize", "--model", str(checkpoint), "--input", str(rows_file)]
    assert main(words) == 0
    before = opening.read_manifest(checkpoint)
    model.reward = lambda row: math.nan if row.id == "b" else 1.0
    assert main(words) == 2
    assert "1 of 4 rows" in capsys.readouterr().err
    assert opening.read_manifest(checkpoint) == before


def test_a_layout_is_passed_on_with_the_flag(checkpoint, rows_file, model, monkeypatch):
    started = []
    monkeypatch.setattr("nemo_hs2pref.cli.processes.start", lambda count, words: started.append((count, words)) or 0)
    store(checkpoint, measure(scored(1.0, 2.0)), rows_file)
    files = ["--model", str(checkpoint), "--input", str(rows_file)]
    spread = ["--tensor-parallel", "4", "--pipeline-parallel", "2"]
    assert main(["standardize", *files, *spread]) == 0
    assert main(["score", *files, "--output", "s.jsonl", "--standardize", *spread]) == 0
    assert main(["score", *files, "--output", "s.jsonl", *spread]) == 0
    assert started == [
        (8, ["standardize", *files, *spread]),
        (8, ["score", *files, "--output", "s.jsonl", "--standardize", *spread]),
        (8, ["score", *files, "--output", "s.jsonl", *spread]),
    ]
    assert not model.opened
