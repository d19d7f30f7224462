"""Ratings and preferences of the same responses, joined on the pair."""

import json

import pytest

from nemo_hs2pref.cli import main
from nemo_hs2pref.data.formats.rated_pairs import remember, with_ratings
from nemo_hs2pref.data.groups import Kept
from nemo_hs2pref.data.reading.scratch import Scratch
from nemo_hs2pref.data.records import Message, PreferencePair, RatedResponse, read_pairs, write_jsonl

PROMPT = (Message("user", "Why?"),)
PAIR = PreferencePair("p", PROMPT, "Because.", "No.", 2)


def rated(response, prompt=PROMPT, **ratings):
    return RatedResponse("r", (*prompt, Message("assistant", response)), ratings)


@pytest.fixture
def join(tmp_path):
    """PAIR, after these responses were rated."""
    with Scratch(tmp_path / "scratch.sqlite") as scratch:

        def joined(ratings, split="train"):
            for response in ratings:
                remember(Kept("ratings", split, (response,)), scratch)
            return with_ratings(PAIR, "train", scratch)

        yield joined


def test_pair_gets_the_ratings_of_its_own_responses(join):
    other = (Message("user", "How?"),)
    ratings = [rated("No.", helpfulness=1), rated("Because.", helpfulness=4), rated("No.", other, helpfulness=0)]
    pair = join(ratings)
    assert (pair.chosen_attributes, pair.rejected_attributes) == ({"helpfulness": 4}, {"helpfulness": 1})
    assert pair.strength == 2


@pytest.mark.parametrize(
    "ratings",
    [
        [],
        [rated("Because.", helpfulness=4)],
        [rated("Because.", helpfulness=4), rated("No. ", helpfulness=1)],
        [rated("Because.", helpfulness=4), rated("No.", helpfulness=1), rated("No.", helpfulness=2)],
    ],
    ids=["neither", "one side", "another text", "two ratings that differ"],
)
def test_pair_stays_without_ratings_unless_both_sides_have_one(join, ratings):
    assert join(ratings) == PAIR


def test_pair_takes_no_ratings_of_the_other_split(join):
    assert join([rated("Because.", helpfulness=4), rated("No.", helpfulness=1)], split="validation") == PAIR


def test_response_rated_twice_alike_keeps_its_ratings(join):
    ratings = [rated("Because.", helpfulness=4), rated("No.", helpfulness=1), rated("No.", helpfulness=1)]
    pair = join(ratings)
    assert pair.rejected_attributes == {"helpfulness": 1}


@pytest.fixture
def real(shared_data):
    """The eleven real comparisons of which both responses' ratings are known."""
    path = shared_data / "helpsteer2-samples" / "preference_pairs_with_attributes.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_official(folder, comparisons, *, rated):
    """The official layout: `rated` maps a split to the comparisons whose responses are rated in its file."""
    for split, rows in rated.items():
        ratings = [
            {"prompt": row["prompt"], "response": row[f"response_{side}"], **row[f"attributes_{side}"]}
            for row in rows
            for side in (1, 2)
        ]
        write_jsonl(folder / f"{split}.jsonl", ratings)
    write_jsonl(folder / "preference" / "preference.jsonl", comparisons)


def test_real_pairs_carry_the_ratings_of_the_side_they_belong_to(real, tmp_path, capsys):
    comparisons = [{**row, "split": "train"} for row in real] + [{**row, "split": "val"} for row in real]
    # All are rated in the training file, the first three in the validation file too.
    write_official(tmp_path / "source", comparisons, rated={"train": real, "validation": real[:3]})
    out = tmp_path / "out"
    assert main(["data", "prepare", "--source", str(tmp_path / "source"), "--out", str(out)]) == 0

    decided = [row for row in real if row["preference_strength"]]
    pairs = {(pair.chosen, pair.rejected): pair for pair in read_pairs(out / "pairs.train.jsonl")}
    assert len(pairs) == len(decided)
    for row in decided:
        better, worse = (2, 1) if row["preference_strength"] > 0 else (1, 2)
        pair = pairs[row[f"response_{better}"], row[f"response_{worse}"]]
        assert pair.chosen_attributes == row[f"attributes_{better}"]
        assert pair.rejected_attributes == row[f"attributes_{worse}"]

    outputs = json.loads((out / "manifest.json").read_text())["outputs"]
    assert outputs["pairs.train.jsonl"]["with_ratings"] == len(decided)
    in_validation = sum(bool(row["preference_strength"]) for row in real[:3])
    assert outputs["pairs.validation.jsonl"]["with_ratings"] == in_validation < len(decided)
    assert "with_ratings" not in outputs["ratings.train.jsonl"]
    assert f"with ratings: {in_validation}" in capsys.readouterr().out
