"""Every experiment can work, its file says what it is in all, and docs/experiments.md says the same."""

import re
from pathlib import Path

import pytest

from nemo_hs2pref.config.load import config_dir
from nemo_hs2pref.config.schema.reward_model import RewardModelConfig
from nemo_hs2pref.config.summary import length, one_line
from nemo_hs2pref.evaluation.goodness import GOODNESS
from nemo_hs2pref.evaluation.published import PUBLISHED
from nemo_hs2pref.recipes.rm import RECIPE, load_reward_model_config

ROOT = Path(__file__).parents[1]
EXPERIMENTS = sorted(path.stem for path in (config_dir() / "experiment").glob("*.yaml"))
GIVEN = ("exp_manager.explicit_log_dir=run", "pretrained_checkpoint.restore_from_path=base", "data.dir=data")
HEADER = ["experiment", "what", "data", "start", "loss", "LR", "length", "overall", "sections", "source"]


def load(experiment: str, *overrides: str) -> RewardModelConfig:
    return load_reward_model_config([f"experiment={experiment}", *GIVEN, *overrides])[0]


def documented() -> dict[str, dict[str, str]]:
    """Rows of the tables of docs/experiments.md, by experiment, without code marks."""
    rows = {}
    for line in (ROOT / "docs" / "experiments.md").read_text().splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            rows[cells[0]] = dict(zip(HEADER, cells, strict=True))
    return rows


DOCUMENTED = documented()
ON_GPUS = ["llama31_70b", "qwen25_7b", "qwen25_32b", "qwen25_72b"]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("model", [*ON_GPUS, "smollm2", "llama_tiny", "qwen_tiny"])
def test_every_experiment_composes_and_can_work_on_every_model(experiment: str, model: str) -> None:
    config = load(experiment, f"model={model}")
    RECIPE.check(config, {})
    world = config.trainer.num_nodes * config.trainer.devices
    assert (world > 1) == (model in ON_GPUS)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_numbers_stand_in_the_file_even_where_another_one_sets_them(experiment: str) -> None:
    text = (config_dir() / "experiment" / f"{experiment}.yaml").read_text()
    assert f"\n# In all: {one_line(load(experiment))}.\n" in text


def test_every_experiment_has_its_row_and_the_reverse() -> None:
    assert set(DOCUMENTED) == {*EXPERIMENTS, "expo"}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_row_says_what_the_configuration_says(experiment: str) -> None:
    config, row = load(experiment), DOCUMENTED[experiment]
    assert (row["loss"], row["LR"]) == (config.loss.name, f"{config.model.optim.lr:g}")
    assert row["length"] == length(config)
    assert (row["start"] == "base") == (not config.head.load_rm_head_weights)


@pytest.mark.parametrize("experiment", [*EXPERIMENTS, "expo"])
def test_a_row_has_the_published_numbers_or_none(experiment: str) -> None:
    row = DOCUMENTED[experiment]
    scores = [row["overall"], *row["sections"].split(", ")] if row["overall"] else []
    known = PUBLISHED.get(experiment)
    assert scores == ([f"{score:.1f}" for score in known.scores] if known else [])


def test_bradley_terry_rows_differ_in_the_loss_alone() -> None:
    for start in ("scratch", "stage2"):
        regular, margin, scaled = (load(f"rm_{start}_{loss}_bt") for loss in ("regular", "margin", "scaled"))
        assert [config.loss.name for config in (regular, margin, scaled)] == ["regular_bt", "margin_bt", "scaled_bt"]
        regular.loss = margin.loss = scaled.loss
        assert regular == margin == scaled


def test_helpsteer2s_own_model_has_the_papers_goodness_weights() -> None:
    config = load("rm_helpsteer2_llama3_70b")
    goodness = {name: w for name, w in zip(config.head.attributes, config.head.reward_weights, strict=True) if w}
    assert goodness == GOODNESS["llama3-70b"]
    assert config.data.attributes == list(goodness)


def test_the_readme_lists_a_part_of_the_experiments() -> None:
    listed = set(re.findall(r"^\| `(rm_\w+)`", (ROOT / "README.md").read_text(), flags=re.MULTILINE))
    assert listed and listed <= set(EXPERIMENTS)
