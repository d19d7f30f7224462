"""Every layout computes what one process computes: loss, gradients, rewards, ten optimizer steps, resumed or not.

One launch a layout, on llama_tiny in float32.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from torch_dist_files import read_tensors

from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf
from nemo_hs2pref.checkpoint.small_models.tiny import write_qwen_tiny

WORKER = Path(__file__).parent / "layouts_worker.py"
LAYOUTS = {
    "tensor parallel, padded": ["parallel=tp2", "data.packed_sequence=false"],
    "tensor and sequence parallel": ["parallel=tp2_sp"],
    "pipeline parallel": ["parallel=pp2", "model.micro_batch_size=2"],
    "data parallel, distributed optimizer, padded": ["parallel=dp2", "data.packed_sequence=false"],
}
OF_QWEN = {"tensor and sequence parallel": ["parallel=tp2_sp"], "pipeline parallel": ["parallel=pp2"]}


@dataclass(frozen=True)
class Outcome:
    result: dict[str, Any]
    gradients: dict[str, Tensor]


@pytest.fixture(scope="module")
def outcome_of(
    tmp_path_factory: pytest.TempPathFactory, llama_tiny: Path, sample: Path, launch: Callable[..., str]
) -> Callable[[str], Outcome]:
    """Layout name -> what it computed; "one process" is the canonical member."""
    root = tmp_path_factory.mktemp("layouts")
    done: dict[str, Outcome] = {}

    def run(name: str) -> Outcome:
        if name not in done:
            if name != "one process":
                run("one process")
            out = root / name.replace(" ", "_").replace(",", "")
            overrides = LAYOUTS.get(name, ["parallel=single"])
            launch(WORKER, llama_tiny, sample, root / "one_process", out, *overrides, processes=1 + (name in LAYOUTS))
            done[name] = Outcome(json.loads((out / "result.json").read_text()), read_tensors(out / "gradients"))
        return done[name]

    return run


def relative_difference(got: Tensor, expected: Tensor) -> float:
    """Largest difference over largest value."""
    return float((got - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_equals_one_process(layout: str, outcome_of: Callable[[str], Outcome]) -> None:
    one, other = outcome_of("one process"), outcome_of(layout)
    assert other.result["losses"][0] == pytest.approx(one.result["losses"][0], rel=1e-5)

    assert other.gradients.keys() == one.gradients.keys()
    assert all(gradient.abs().max() > 0 for name, gradient in one.gradients.items() if "rm_head" not in name)
    differences = {name: relative_difference(other.gradients[name], one.gradients[name]) for name in one.gradients}
    assert max(differences.values()) < 1e-5, max(differences.items(), key=lambda item: item[1])

    rewards = [Tensor(sorted(outcome.result["rewards"])) for outcome in (other, one)]
    assert relative_difference(*rewards) < 1e-5

    assert other.result["losses"] == pytest.approx(one.result["losses"], rel=1e-4)
    assert other.result["resumed"] == pytest.approx(one.result["losses"][5:], rel=1e-4)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory, sample: Path, launch: Callable[..., str]) -> dict[str, Outcome]:
    """The same of a Qwen2.5, in fewer layouts."""
    root = tmp_path_factory.mktemp("qwen")
    convert_from_hf(write_qwen_tiny(root / "hf"), root / "base")
    found: dict[str, Outcome] = {}
    for name, overrides in {"one process": ["parallel=single"], **OF_QWEN}.items():
        out = root / name.replace(" ", "_")
        words = (root / "base", sample, root / "one_process", out, *overrides)
        launch(WORKER, *words, processes=1 + (name in OF_QWEN))
        found[name] = Outcome(json.loads((out / "result.json").read_text()), read_tensors(out / "gradients"))
    return found


@pytest.mark.parametrize("layout", OF_QWEN)
def test_layout_of_a_qwen_equals_one_process(layout: str, qwen: dict[str, Outcome]) -> None:
    """Its biases on queries, keys and values are cut over the ranks as their rows are."""
    one, other = qwen["one process"], qwen[layout]
    assert any(name.endswith("linear_qkv.bias") for name in one.gradients)
    differences = {name: relative_difference(other.gradients[name], one.gradients[name]) for name in one.gradients}
    assert max(differences.values()) < 1e-5, max(differences.items(), key=lambda item: item[1])
    assert other.result["losses"] == pytest.approx(one.result["losses"], rel=1e-4)
    assert other.result["resumed"] == pytest.approx(one.result["losses"][5:], rel=1e-4)


def test_resumed_in_the_same_layout_is_bitwise_the_same(outcome_of: Callable[[str], Outcome]) -> None:
    result = outcome_of("one process").result
    assert result["resumed"] == result["losses"][5:]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_rank_that_fails_stops_the_others(layout: str, outcome_of: Callable[[str], Outcome]) -> None:
    """Fault 10: on one rank alone an error leaves the others waiting until a watchdog kills them."""
    first, second = outcome_of(layout).result["stopped"]
    assert second == "row 7 is broken"
    assert first.startswith("1 other rank(s) could not build a batch")


@pytest.mark.parametrize("layout", ["one process", "pipeline parallel"])
def test_what_is_not_finite_is_told_with_what_is_left_of_the_weights(
    layout: str, outcome_of: Callable[[str], Outcome]
) -> None:
    """They are those of the step before only where the update of that step left them finite."""
    told = outcome_of(layout).result["not_finite"]
    assert told["unchanged"]
    assert told["rate"].startswith("step 11: the learning rate is inf; no update was made with it")
    assert told["loss"].startswith("step 11: the loss is inf, though every weight is finite; no update was made")
    assert told["weight"].startswith(
        "step 11: the loss is nan, for the update of step 10 has left weights that are not finite; nothing was saved"
    )


def test_no_vocabulary_output_layer_is_allocated(outcome_of: Callable[[str], Outcome]) -> None:
    """Fault 8: the language model's output layer stays in the reward model and in its optimizer."""
    names = outcome_of("one process").result["parameters"]
    assert any(name.endswith("rm_head.weight") for name in names)
    assert not any("output_layer" in name for name in names)
