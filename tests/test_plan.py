"""What a plan says, by hand; that what it suggests works; what it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_hs2pref.cli import main
from nemo_hs2pref.config.architecture import architecture_of
from nemo_hs2pref.config.schema.reward_model import RewardModelConfig
from nemo_hs2pref.data.sampling import GlobalBatches
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.launch.plan.activations import stored_activations
from nemo_hs2pref.launch.plan.layout import layout_of
from nemo_hs2pref.launch.plan.nearest import changed, nearest_that_works, refuse
from nemo_hs2pref.launch.plan.parameters import rank_parameters, whole_model
from nemo_hs2pref.launch.plan.plan import Plan, make_plan, num_steps
from nemo_hs2pref.launch.plan.saves import Saves
from nemo_hs2pref.launch.plan.states import buffer_size, shard_sizes
from nemo_hs2pref.recipes.rm import RECIPE, load_reward_model_config

GIVEN = ("exp_manager.explicit_log_dir=run", "pretrained_checkpoint.restore_from_path=base", "data.dir=data")
LLAMA_8B = ("model.num_layers=32", "model.hidden_size=4096", "model.ffn_hidden_size=14336",
            "model.num_attention_heads=32")  # fmt: skip
ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "plan.md").read_text()
SHAPES = ["llama31_70b", "llama_tiny", "smollm2"]


def load(*overrides: str) -> RewardModelConfig:
    return load_reward_model_config([*GIVEN, *overrides])[0]


BASES = {shape: load(f"model={shape}") for shape in SHAPES}  # composing one takes half a second


def plan(*overrides: str, gpu_memory: float = 80) -> Plan:
    return make_plan(RECIPE, load(*overrides), {}, gpu_memory)


# --- parameters ---


@pytest.mark.parametrize(
    ("overrides", "language_model", "hidden"),
    [((), 70_553_706_496, 8192), (LLAMA_8B, 8_030_261_248, 4096)],  # Meta's Llama 3.1 70B and 8B
)
def test_parameters_are_the_language_models_with_a_head_of_nine_rows_in_place_of_the_vocabularys(
    overrides: tuple[str, ...], language_model: int, hidden: int
) -> None:
    assert plan(*overrides).parameters == language_model - 128_256 * hidden + 9 * hidden


@pytest.mark.parametrize("peft", ["none", "lora"])
@pytest.mark.parametrize("tensor", [1, 2, 8])
@pytest.mark.parametrize("pipeline", [1, 2, 8])
def test_ranks_hold_the_model_once_and_norms_and_head_on_every_tensor_rank(
    peft: str, tensor: int, pipeline: int
) -> None:
    config = load(f"peft={peft}", f"model.tensor_model_parallel_size={tensor}",
                  f"model.pipeline_model_parallel_size={pipeline}")  # fmt: skip
    sizes, layout = architecture_of(config, {}), layout_of(config)
    parts = [p for stage in range(pipeline) for p in rank_parameters(config, sizes, layout, stage)]
    copied = sum(p.size for p in parts if "norm" in p.name or p.is_head)
    assert copied == (2 * 80 + 1) * 8192 + 9 * 8192
    assert sum(p.size for p in parts) * tensor - copied * (tensor - 1) == sum(
        p.size for p in whole_model(config, sizes)
    )


def test_adapters_of_the_70b_are_those_of_the_lora_page() -> None:
    """0.35 billion numbers: docs/lora.md."""
    layer = 32 * ((8192 + 10_240) + (8192 + 8192) + (8192 + 57_344) + (28_672 + 8192))
    assert plan("peft=lora").trained == 80 * layer + 9 * 8192


# --- optimizer states ---


def test_states_are_shared_out_by_equal_parts_of_a_padded_buffer() -> None:
    # 10 numbers at 0, 100 at 64; 164 in all, padded to 256, so 128 a rank
    assert buffer_size([10, 100], data=2) == 256
    assert shard_sizes([10, 100], data=2) == [10 + 64, 36]


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=30), st.integers(1, 12))
def test_every_number_has_one_owner(sizes: list[int], data: int) -> None:
    assert sum(shard_sizes(sizes, data)) == sum(sizes)
    assert buffer_size(sizes, data) % data == 0


# --- activations ---


def activations(*overrides: str, stage: int = 0) -> int:
    config = load("model.micro_batch_size=1", *overrides)
    return stored_activations(config, architecture_of(config, {}), layout_of(config), stage, fused=True)


def test_activations_of_a_layer_by_hand() -> None:
    """One row of 4096 tokens of the 70B, 16 bit, tensor parallel 8 with sequences cut: all is an eighth."""
    norms = 2 * (2 * 8192 * 2 + 4)
    attention = 2 * (10_240 + 8192 + 1024 + 8192) + 4 * 64
    mlp = 2 * 3 * 28_672
    layer = 4096 * (norms + attention + mlp) // 8
    assert activations() == 2 * 40 * layer  # 40 layers, two micro batches in flight


def test_without_sequence_parallelism_norms_are_whole() -> None:
    more = activations("model.sequence_parallel=false") - activations()
    assert more == 2 * 40 * 4096 * 2 * (2 * 8192 * 2 + 4) * 7 // 8


def test_full_recomputation_keeps_the_input_of_every_layer_and_one_layer() -> None:
    full = activations("model.activations_checkpoint_granularity=full",
                       "model.activations_checkpoint_method=uniform",
                       "model.activations_checkpoint_num_layers=1")  # fmt: skip
    layer, given_ = activations() // 80, 4096 * 8192 * 2 // 8
    assert full == 80 * given_ + layer - given_


def test_the_first_stage_has_a_micro_batch_in_flight_for_every_stage() -> None:
    pp4 = "model.pipeline_model_parallel_size=4"
    assert [activations(pp4, stage=stage) for stage in range(3)] == [
        activations(pp4, stage=2) * n // 2 for n in (4, 3, 2)
    ]
    few = ("model.global_batch_size=4", "model.num_layers=80", pp4)  # two micro batches of each of two replicas
    assert activations(*few) == activations(*few, stage=2)


def test_a_pair_is_two_rows() -> None:
    assert activations("loss=scaled_bt") == 2 * activations()


# --- batches and steps ---


@given(items=st.integers(1, 30_000), epochs=st.integers(1, 3), limit=st.sampled_from([-1, 1, 100]))
def test_steps_are_those_of_training(items: int, epochs: int, limit: int) -> None:
    base = BASES["llama31_70b"]
    loop = replace(base.trainer.rm, max_epochs=epochs, max_steps=limit)
    config = replace(base, trainer=replace(base.trainer, rm=loop))
    order = GlobalBatches(items, config.model.global_batch_size, seed=0, shuffle=True)
    assert num_steps(config, items) == order.num_steps(epochs, limit)


def test_stage_1_has_the_steps_of_the_paper() -> None:
    assert num_steps(load("experiment=rm_stage1_helpfulness"), 20_324) == 317


def test_rows_come_from_the_manifest(tmp_path: Path) -> None:
    about = {"rows": 20_324, "sha256": "ab" * 32}
    (tmp_path / "manifest.json").write_text(json.dumps({"outputs": {"ratings.train.jsonl": about}}))
    batch = plan("experiment=rm_stage1_helpfulness", f"data.dir={tmp_path}").batch
    assert (batch.train_items, batch.steps, batch.micro_batches) == (20_324, 317, 16)


# --- saves ---


@pytest.mark.parametrize(
    ("overrides", "resume_states", "best_weights"),
    [
        ((), 4, 32),  # after steps 80, 160, 240 and 317
        (("trainer.rm.save_interval=10",), 32, 32),
        (("trainer.rm.save_interval=0", "trainer.rm.val_check_interval=0"), 1, 1),
        (("trainer.rm.max_steps=80", "exp_manager.checkpoint_callback_params.save_top_k=0"), 1, 0),
    ],
)
def test_saves_are_those_of_training(overrides: tuple[str, ...], resume_states: int, best_weights: int) -> None:
    assert plan("experiment=rm_stage1_helpfulness", *overrides).saves == Saves(resume_states, best_weights)


def test_the_authors_step_80_of_stage_2_is_saved() -> None:
    assert 80 % load("experiment=rm_stage2_scaled_bt").trainer.rm.save_interval == 0


def test_the_time_of_all_saves_is_told_with_the_rate_that_it_assumes(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "experiment=rm_stage1_helpfulness", "trainer.rm.save_interval=10"]
    assert main(words) == 0
    resume_state = 69_503_107_072 * (2 + 12) + 9 * 8192 * 2  # the head is in float32
    hours = 32 * resume_state / 2e9 / 3600
    assert f"saves        32 resume states, {32 * resume_state / 1e9:.1f} GB: {hours:.1f} h at 2 GB/s (assumed)\n" in (
        capsys.readouterr().out
    )
    assert main([*words, "trainer.rm.max_steps=-1"]) == 0
    assert "saves        resume states of 973.0 GB, 8.1 min at 2 GB/s (assumed) each\n" in capsys.readouterr().out
    main([*words, "--json"])
    assert json.loads(capsys.readouterr().out)["saves"] == {"resume_states": 32, "best_weights": 32}


# --- what cannot work, and what does not fit ---


def test_smollm2_with_tensor_parallel_2_is_refused_by_its_heads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "model=smollm2", "parallel=tp2"]) == 2
    message = capsys.readouterr().err
    assert "model.tensor_model_parallel_size=2 does not divide num_attention_heads 9; possible: 1, 3, 9" in message
    assert message.endswith("nearest layout that works: model.tensor_model_parallel_size=1\n")


@given(
    shape=st.sampled_from(SHAPES),
    nodes=st.integers(1, 9),
    devices=st.sampled_from([1, 2, 4, 6, 8]),
    numbers=st.fixed_dictionaries(
        {
            "tensor_model_parallel_size": st.integers(1, 16),
            "pipeline_model_parallel_size": st.integers(1, 12),
            "micro_batch_size": st.integers(1, 6),
            "global_batch_size": st.integers(1, 300),
            "encoder_seq_length": st.integers(64, 5000),
            "sequence_parallel": st.booleans(),
        }
    ),
)
@settings(max_examples=150)
def test_what_is_suggested_works_on_the_same_gpus(shape: str, nodes: int, devices: int, numbers: dict) -> None:
    trainer = replace(BASES[shape].trainer, num_nodes=nodes, devices=devices)
    config = replace(changed(BASES[shape], numbers), trainer=trainer)
    change = nearest_that_works(RECIPE, config, {})
    if not RECIPE.faults_of(config, {}):
        assert change is None
        return
    assert change, "one rank of everything always works"
    other = changed(config, change)
    assert RECIPE.faults_of(other, {}) == []
    assert (other.trainer.num_nodes, other.trainer.devices) == (nodes, devices)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["model.tensor_model_parallel_size=3"], {"tensor_model_parallel_size": 4}),
        (["model.pipeline_model_parallel_size=3"], {"pipeline_model_parallel_size": 4}),
        (["model.encoder_seq_length=4090"], {"encoder_seq_length": 4096}),
        (["model.global_batch_size=16", "model.micro_batch_size=8"], {"micro_batch_size": 4}),
        (["trainer.num_nodes=1"], {"pipeline_model_parallel_size": 1}),
    ],
)
def test_the_nearest_layout_is_the_smallest_change(overrides: list[str], expected: dict[str, int]) -> None:
    assert nearest_that_works(RECIPE, load(*overrides), {}) == expected


def test_another_fault_is_not_hidden_behind_a_layout() -> None:
    assert nearest_that_works(RECIPE, load("model.tensor_model_parallel_size=3", "model.optim.lr=0"), {}) is None


@pytest.mark.parametrize("key", ["trainer.num_nodes", "trainer.devices", "model.micro_batch_size"])
def test_number_with_many_digits_too_many_is_told_at_once(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key}=900719925474099300: expected at most [0-9]+\n"):
        refuse(RECIPE, load(f"{key}=900719925474099300"), {})


def test_what_does_not_fit_is_said_with_what_does() -> None:
    tight = plan("experiment=rm_stage1_helpfulness", "trainer.num_nodes=4")
    assert not tight.fits and tight.thriftier is not None
    config = load("experiment=rm_stage1_helpfulness", "trainer.num_nodes=4")
    assert make_plan(RECIPE, changed(config, tight.thriftier), {}, 80).fits
    assert plan("experiment=rm_stage1_helpfulness").fits


def test_exit_code_and_json_say_that_it_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "experiment=rm_stage1_helpfulness", "--gpu-memory", "40", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["works"] and not found["fits"]
    assert found["stages"][1] | {"memory_bytes": 0} == {
        "ranks": [32, 63], "nodes": [4, 7], "layers": [41, 80], "parts": ["final norm", "head"],
        "parameters_a_rank": 4_278_927_360, "memory_bytes": 0,
    }  # fmt: skip


def test_sizes_that_nothing_tells_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "model=smollm2"]) == 2
    assert "model.num_layers: null, and no checkpoint at not-given" in capsys.readouterr().err


def test_every_rank_of_the_text_is_in_one_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "experiment=rm_stage2_scaled_bt"]) == 0
    text = capsys.readouterr().out
    for words in ("32 ranks, 4 x 8: tensor 8 x pipeline 4 x data 1", "0-7", "24-31", "61-80", "69,503,107,072"):
        assert words in text


@pytest.mark.parametrize("memory", ["-5", "0", "nan", "inf"])
def test_a_gpu_has_memory(memory: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(["plan", "experiment=rm_stage1_helpfulness", f"--gpu-memory={memory}"])
    assert refusal.value.code == 2
    assert f"argument --gpu-memory: {memory}; expected more than 0" in capsys.readouterr().err


# --- docs/plan.md ---


def test_the_page_shows_what_the_command_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "experiment=rm_stage1_helpfulness"]) == 0
    assert f"```text\n{capsys.readouterr().out}```" in PAGE


def test_the_page_has_the_table_of_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import plan_table  # a script's folder

    assert "\n".join(plan_table.table()) in PAGE
