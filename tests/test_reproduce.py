"""`hs2pref reproduce table1` without training: what is run, in which order, what is kept, and the table's arithmetic.

A fake stands for the commands and for the scorer; the real ones are run in tests/nemo/test_reproduce_runs.py.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from stand_in import StandIn

from nemo_hs2pref.cli import build_parser, main, parse
from nemo_hs2pref.data.records import Message, PreferencePair, write_jsonl
from nemo_hs2pref.errors import ConfigError, HS2PrefError
from nemo_hs2pref.evaluation.published import PREFERENCE, PUBLISHED
from nemo_hs2pref.reproduce.plan import EXPO, STAGE_1, STAGE_2, TABLE1, Plan, Run, seeds_of, with_starts
from nemo_hs2pref.reproduce.runs import do_runs, expected, read_done
from nemo_hs2pref.reproduce.scores import score_runs
from nemo_hs2pref.reproduce.table import markdown, measure, summarise
from nemo_hs2pref.reproduce.table1 import commands, reproduce

PROMPT = (Message("user", "which?"),)
# Length alone gets the first three of four right.
PAIRS = [PreferencePair(str(n), PROMPT, "longer text" if n < 3 else "x", "short", 1) for n in range(4)]


class Commands:
    """Writes what each command would leave; fails, as after a kill, at the command number `fails_at`."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.given: list[list[str]] = []
        self.fails_at = fails_at

    def __call__(self, words: Sequence[str]) -> None:
        if len(self.given) == self.fails_at:
            raise HS2PrefError("killed")
        self.given.append(list(words))
        values = dict(word.split("=", 1) for word in words if "=" in word)
        if words[0] == "train":
            (Path(values["exp_manager.explicit_log_dir"]) / "checkpoints" / "last" / "training_state").mkdir(
                parents=True
            )
        if words[0] == "extrapolate":
            Path(words[-1]).mkdir(parents=True)

    @property
    def trained(self) -> list[str]:
        return [word.removeprefix("experiment=") for words in self.given for word in words if "experiment=" in word]


def prefers_longer() -> StandIn:
    return StandIn(lambda row: float(len(row.messages[-1].content)))


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    data = tmp_path / "data"
    for name in ("pairs.train.jsonl", "pairs.validation.jsonl"):
        write_jsonl(data / name, [pair.to_json() for pair in PAIRS])
    (tmp_path / "base").mkdir()
    return Plan(tmp_path / "out", tmp_path / "base", data, "laptop", tuple(TABLE1), seeds=(1, 2))


def value(words: Sequence[str], key: str) -> str:
    (found,) = (word.partition("=")[2] for word in words if word.startswith(f"{key}="))
    return found


# --- plan ---


def test_the_table_has_the_papers_rows() -> None:
    assert list(TABLE1) == [row for row, published in PUBLISHED.items() if published.source == PREFERENCE]


def test_a_row_brings_those_it_starts_from_in_the_tables_order() -> None:
    assert with_starts(["expo"]) == (STAGE_1, STAGE_2, EXPO)
    assert with_starts(["rm_stage2_margin_bt", "rm_scratch_margin_bt"]) == (
        STAGE_1, "rm_scratch_margin_bt", "rm_stage2_margin_bt"
    )  # fmt: skip
    assert with_starts([]) == tuple(TABLE1)


@pytest.mark.parametrize(
    ("text", "seeds"), [("2", (1234, 1235)), ("5,7", (5, 7)), ("5,", (5,)), (None, (1234, 1235, 1236))]
)
def test_seeds_are_a_number_or_a_list(text: str | None, seeds: tuple[int, ...]) -> None:
    assert seeds_of(text, "laptop") == seeds


@pytest.mark.parametrize("text", ["0", "two", "3,3", ","])
def test_seeds_that_are_none_or_not_different_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected how many, such as 3, or which, such as 5,7"):
        seeds_of(text, "laptop")


def test_every_run_starts_from_the_base_or_from_a_run_of_its_seed_before_it(plan: Plan) -> None:
    models = {str(plan.base)}
    for run in plan.runs:
        words = plan.words(run)
        if run.row == EXPO:
            assert {words[words.index("--weak") + 1], words[words.index("--strong") + 1]} <= models
        else:
            start = value(words, "pretrained_checkpoint.restore_from_path")
            assert start in models
            assert (start == str(plan.base)) == (not run.row.startswith("rm_stage2"))
            assert start == str(plan.base) or f"seed_{run.seed}" in start
        models.add(str(run.model))


def test_seeds_differ_in_the_seed_and_the_folders_alone(plan: Plan) -> None:
    one, two = (plan.words(run) for run in plan.runs if run.row == "rm_scratch_scaled_bt")
    assert one != two
    assert [word.replace("seed=1", "seed=2").replace("seed_1", "seed_2") for word in one] == two


def test_the_users_overrides_replace_the_laptops_but_neither_row_nor_seed(plan: Plan) -> None:
    given = replace(plan, overrides=("model=llama_tiny", "model.seed=9", "experiment=x", "model.optim.lr=1"))
    words = given.words(given.runs[0])
    assert value(words, "model") == "llama_tiny" and value(words, "model.optim.lr") == "1"
    assert value(words, "model.seed") == "1" and value(words, "experiment") == "rm_regression_all_attributes"


# --- runs ---


def test_what_is_done_is_not_done_again(plan: Plan) -> None:
    first, again = Commands(), Commands()
    do_runs(plan, first)
    assert len(first.given) == 18 and first.trained.count(STAGE_2) == 2
    do_runs(plan, again)
    assert again.given == []


def test_a_reproduction_that_was_stopped_goes_on_with_the_run_that_failed(plan: Plan) -> None:
    first, again = Commands(fails_at=4), Commands()
    with pytest.raises(HS2PrefError, match="killed"):
        do_runs(plan, first)
    do_runs(plan, again)
    assert first.trained == list(TABLE1)[:4]
    assert again.trained[0] == list(TABLE1)[4] and len(first.given + again.given) == 18


def test_another_seed_adds_its_runs(plan: Plan) -> None:
    do_runs(plan, Commands())
    again = Commands()
    do_runs(replace(plan, seeds=(1, 2, 3)), again)
    assert {value(words, "model.seed") for words in again.given if words[0] == "train"} == {"3"}


def test_a_run_of_other_settings_is_neither_repeated_nor_taken(plan: Plan) -> None:
    do_runs(plan, Commands())
    again = Commands()
    with pytest.raises(ConfigError, match="holds the run `hs2pref train rm"):
        do_runs(replace(plan, overrides=("model.optim.lr=1e-3",)), again)
    assert again.given == []


def test_a_finished_run_keeps_its_weights_and_not_its_training_state(plan: Plan) -> None:
    do_runs(plan, Commands())
    for run in plan.runs:
        assert run.model.is_dir() and not (run.model / "training_state").exists()


def test_an_extrapolation_killed_before_its_mark_is_made_again(plan: Plan) -> None:
    do_runs(plan, Commands())
    (run,) = (run for run in plan.runs if run.row == EXPO and run.seed == 1)
    (run.folder / "done.json").unlink()
    again = Commands()
    do_runs(plan, again)
    assert [words[0] for words in again.given] == ["extrapolate"] and read_done(run)


def test_the_forecast_takes_each_run_for_as_long_as_those_of_its_kind(plan: Plan) -> None:
    runs = {run.row: run for run in plan.runs if run.seed == 1}
    assert expected(list(runs.values()), plan.runs) is None
    for row, seconds in ((STAGE_1, 100), (STAGE_2, 400), ("rm_stage2_margin_bt", 200)):
        runs[row].folder.mkdir(parents=True)
        (runs[row].folder / "done.json").write_text(json.dumps({"command": [], "seconds": seconds}))
    waiting = [runs[row] for row in ("rm_regression_all_attributes", "rm_scratch_margin_bt", EXPO)]
    assert expected(waiting, plan.runs) == 100 + (400 + 200) / 2 + (100 + 400 + 200) / 3


# --- scores ---


def test_what_is_scored_is_kept_and_not_scored_again(plan: Plan) -> None:
    do_runs(plan, Commands())
    model = prefers_longer()
    first = score_runs(plan.runs[:3], PAIRS, model.open)
    every = score_runs(plan.runs[:5], PAIRS, model.open)
    score_runs(plan.runs[:5], PAIRS, model.open)
    assert model.opened == [run.model for run in plan.runs[:5]]
    assert first.items() <= every.items() and every[plan.runs[4]]["0:chosen"] == len("longer text")


# --- table ---


def scores(*right: int) -> dict[str, float]:
    """A model that prefers the chosen side in the pairs `right`: 2 against 1, else 0 against 1."""
    chosen = {f"{n}:chosen": 2.0 if n in right else 0.0 for n in range(4)}
    return chosen | {f"{n}:rejected": 1.0 for n in range(4)}


def test_a_row_is_the_mean_of_its_seeds() -> None:
    result = measure(PAIRS, {7: scores(0, 1, 3), 8: scores(1)})
    assert result.by_seed == {7: 0.75, 8: 0.25}
    assert result.accuracy == 0.5
    assert result.seed_deviation == pytest.approx((2 * 0.25**2) ** 0.5)
    low, high = result.interval
    assert low < 0.25 and high > 0.75  # the two seeds alone give 0.25 and 0.75 in a quarter of the draws each


def test_the_interval_of_a_row_draws_prompts_each_with_its_pairs() -> None:
    """A hundred pairs of one prompt are right, a hundred of another are wrong: a draw may have one prompt alone."""
    prompts = {name: (Message("user", name),) for name in ("right", "wrong")}
    pairs = [PreferencePair(f"{name}{n}", prompts[name], "a", "b", 1) for name in prompts for n in range(100)]
    rewards = {side.id: float(side.id.startswith("right") == side.id.endswith("chosen"))
               for pair in pairs for side in pair.conversations()}  # fmt: skip
    assert measure(pairs, {1: rewards}).interval == (0, 1)


def test_the_correlation_with_length_is_the_mean_over_seeds() -> None:
    """By hand. Lengths: chosen 11, 11, 11, 1, rejected 5 each; mean 54/8."""
    lengths = [11, 11, 11, 1, 5, 5, 5, 5]
    prefers_long, prefers_short = [2, 2, 2, 0, 1, 1, 1, 1], [0, 0, 0, 2, 1, 1, 1, 1]

    def correlation(rewards: list[int]) -> float:
        x, y = ([value - sum(values) / 8 for value in values] for values in (rewards, lengths))
        return sum(a * b for a, b in zip(x, y, strict=True)) / (sum(a * a for a in x) * sum(b * b for b in y)) ** 0.5

    assert measure(PAIRS, {1: scores(0, 1, 2)}).length_correlation == pytest.approx(correlation(prefers_long))
    both = measure(PAIRS, {1: scores(0, 1, 2), 2: scores(3)})
    assert both.length_correlation == pytest.approx((correlation(prefers_long) + correlation(prefers_short)) / 2)


def test_one_seed_has_no_deviation_and_a_constant_reward_no_correlation() -> None:
    result = measure(PAIRS, {1: {name: 1.0 for name in scores()}})
    assert result.seed_deviation is None and result.length_correlation is None and result.accuracy == 0


def test_the_table_shows_ours_and_the_published_and_says_which_is_which() -> None:
    summary = summarise(
        PAIRS, {STAGE_1: {1: scores(0, 1), 2: scores(0)}, EXPO: {1: scores(0, 1, 2, 3), 2: scores(0, 1, 3)}}
    )
    assert summary["pairs"] == 4 and summary["length_only"]["accuracy"] == 0.75
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in markdown(summary).splitlines() if "|" in line
    ]
    header, _, length, stage_1, expo = lines
    assert header[1] == "accuracy" and header[6] == "RewardBench, published"
    assert length[:2] == ["longer response wins", "75.0"]
    assert stage_1[0].endswith("helpfulness only (no better than length)")
    assert [*stage_1[1:2], *stage_1[3:5]] == ["37.5", "50.0, 25.0", "17.7"]
    assert stage_1[6:] == ["93.0", "97.2", "84.2", "94.6", "95.8"]
    assert expo[0].endswith("ExPO") and [*expo[1:2], *expo[6:7]] == ["87.5", "94.1"]
    assert "published (HelpSteer2-Preference, Table 1)" in markdown(summary)
    assert "another model, another training set and another measure" in markdown(summary)


# --- all of it ---


def test_a_reproduction_writes_the_table_the_numbers_and_the_picture(plan: Plan) -> None:
    some = replace(plan, rows=with_starts([EXPO]))
    summary = reproduce(some, "data", Commands(), prefers_longer().open)
    assert all(row["accuracy"] == 0.75 and not row["better_than_length"] for row in summary["rows"].values())
    assert tuple(json.loads((plan.out / "table1.json").read_text())["rows"]) == some.rows
    assert (plan.out / "table1.md").read_text() == markdown(summary)
    assert (plan.out / "table1.png").read_bytes().startswith(b"\x89PNG")


def test_a_typo_stops_before_the_first_run(plan: Plan) -> None:
    given = Commands()
    with pytest.raises(ConfigError, match=r"unknown key model\.lr; did you mean model\.optim\.lr\?"):
        reproduce(replace(plan, overrides=("model.lr=1",)), "data", given, prefers_longer().open)
    assert given.given == [] and not plan.out.exists()


def test_a_folder_of_other_data_or_of_somebody_elses_is_refused(plan: Plan) -> None:
    few = replace(plan, rows=(STAGE_1,))
    reproduce(few, "data", Commands(), prefers_longer().open)
    with pytest.raises(ConfigError, match="name a new folder"):
        reproduce(few, "other data", Commands(), prefers_longer().open)
    (plan.out / "reproduce.json").unlink()
    with pytest.raises(ConfigError, match="holds files that are not a reproduction's"):
        reproduce(few, "data", Commands(), prefers_longer().open)


def test_the_papers_scale_is_printed_and_never_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "reproduce",
        "table1",
        "--scale",
        "70b",
        "--data",
        "hs2",
        "--base",
        "llama",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(words) == 2
    assert "nothing is started from here; --dry-run prints the commands" in capsys.readouterr().err
    assert main([*words, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "rm_stage2_scaled_bt, seed 1234: 105 steps of 64 pairs (1 epoch), LR 1e-06, head of the start" in printed
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("scale", ["laptop", "70b"])
def test_every_printed_command_can_be_given(plan: Plan, scale: str) -> None:
    fresh = replace(plan, scale=scale, seeds=(1,), base=plan.out / "base", data=plan.out / "data")
    lines = [line for line in commands(fresh, "sample").splitlines() if line.startswith("hs2pref ")]
    assert len(lines) == 2 + 9 + 9
    for line in lines:
        words = shlex.split(line)[1:]
        parse(build_parser(words[0]), words)


def test_a_run_says_which_it_is() -> None:
    assert str(Run(STAGE_1, 7, Path("x"))) == "rm_stage1_helpfulness, seed 7"
