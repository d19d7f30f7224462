"""The configuration is closed, checked before anything is built, and the paper's numbers stand where they should."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nemo_hs2pref.cli import main
from nemo_hs2pref.config.check import check
from nemo_hs2pref.config.load import config_dir, load_reward_model_config
from nemo_hs2pref.config.resume import refuse_other_run
from nemo_hs2pref.config.schema import RewardModelConfig
from nemo_hs2pref.errors import ConfigError

GIVEN = ("exp_manager.explicit_log_dir=run", "pretrained_checkpoint.restore_from_path=base", "data.dir=data")
SMOLLM2 = {"num_layers": 30, "hidden_size": 576, "num_attention_heads": 9, "num_query_groups": 3}


def load(*overrides: str) -> RewardModelConfig:
    return load_reward_model_config("train_rm", [*GIVEN, *overrides])[0]


def refusal(*overrides: str, checkpoint: dict | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        check(load(*overrides), checkpoint or {})
    return str(error.value)


def test_stage_1_has_the_papers_numbers() -> None:
    config = load("experiment=rm_stage1_helpfulness")
    assert (config.loss.name, config.data.attributes) == ("regression", ["helpfulness"])
    assert (config.model.global_batch_size, config.model.micro_batch_size) == (128, 2)
    assert (config.trainer.rm.max_epochs, config.trainer.rm.max_steps) == (2, 2 * 20_324 // 128)
    assert config.model.optim.lr == config.model.optim.sched.min_lr == 2e-6
    assert (config.trainer.num_nodes, config.trainer.devices) == (8, 8)
    assert (config.model.tensor_model_parallel_size, config.model.pipeline_model_parallel_size) == (8, 2)
    assert not config.head.load_rm_head_weights


def test_stage_2_has_the_papers_numbers() -> None:
    config = load("experiment=rm_stage2_scaled_bt")
    assert config.loss.name == "scaled_bt"
    assert (config.model.global_batch_size, config.trainer.rm.max_epochs) == (64, 1)
    assert config.trainer.rm.max_steps == 6_766 // 64
    assert config.model.optim.lr == config.model.optim.sched.min_lr == 1e-6
    assert (config.trainer.num_nodes, config.trainer.devices) == (4, 8)
    assert (config.model.tensor_model_parallel_size, config.model.pipeline_model_parallel_size) == (8, 4)
    assert config.head.load_rm_head_weights


def test_a_learning_rate_given_on_the_command_line_stays_constant() -> None:
    config = load("model.optim.lr=3e-6")
    assert config.model.optim.sched.min_lr == 3e-6


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("model.optim.learning_rate=1e-6", "unknown key model.optim.learning_rate"),
        ("model.lr=1e-6", "did you mean model.optim.lr?"),
        ("++model.lr=1e-6", "did you mean model.optim.lr?"),
        ("+trainer.rm.max_step=5", "did you mean trainer.rm.max_steps?"),
        ("++model.regression.loss_func=scaled_bt", "choose the loss with loss="),
        ("model.regression.loss_func=scaled_bt", "choose the loss with loss="),
        ("loss=scaled", "scaled_bt"),
        ("trainer.rm.max_steps=many", "trainer.rm.max_steps"),
        ("model.sequence_parallel=perhaps", "model.sequence_parallel"),
    ],
)
def test_a_typo_stops_with_the_key_and_what_was_meant(override: str, hint: str) -> None:
    """Fault 11 of Aligner: keys must be forced in with ++, which takes any typo."""
    with pytest.raises(ConfigError) as error:
        load(override)
    assert hint in str(error.value)
    assert "\n" not in str(error.value).strip() or "scaled_bt" in hint


def test_tensor_parallel_is_set_without_force() -> None:
    config = load("model.tensor_model_parallel_size=4", "model.pipeline_model_parallel_size=4")
    assert config.model.tensor_model_parallel_size == 4


def test_missing_values_are_named_together() -> None:
    with pytest.raises(ConfigError) as error:
        load_reward_model_config("train_rm", [])
    for key in ("data.dir", "exp_manager.explicit_log_dir", "pretrained_checkpoint.restore_from_path"):
        assert key in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.tensor_model_parallel_size=3"], "tensor 3 x pipeline 2 = 6 does not divide 8 nodes x 8 devices = 64"),
        (["model.global_batch_size=66"], "try 64"),
        (["loss.name=scaledbt"], "loss.name=scaledbt: expected one of regression, regular_bt, margin_bt, scaled_bt"),
        (["model.optim.lr=0"], "model.optim.lr=0.0: must be greater than 0"),
        (["trainer.precision='32'"], "bf16 trains with O2"),
        (["head.reward_weights=[1]"], "head.reward_weights has 1 numbers, head.attributes has 9"),
        (["head.reward_weights=[0,0,0,0,0,0,0,0,0]"], "every reward would be 0"),
        (["data.attributes=[helpfullness]"], "expected a selection of head.attributes"),
        (["model.activations_checkpoint_granularity=full"], "needs activations_checkpoint_method"),
        (["exp_manager.checkpoint_callback_params.monitor=val_accuracy"], "val_ratings_..., val_pairs_..."),
        (["exp_manager.create_early_stopping_callback=true", "~data.validation.ratings"], "give val_pairs_..."),
        (
            ["data.validation.my_set=rows.jsonl"],
            "data.validation.my_set: expected a name of letters, digits and hyphens",
        ),
        (["loss=scaled_bt", "loss.weights.regression=1"], "choose loss=combined for a weighted sum"),
        (["loss.weights.regression=0"], "loss=regression trains regression alone"),
        (["loss=combined", "loss.weights.scaled_bt=0"], "and for a Bradley-Terry term"),
        (["loss=combined", "loss.weights.scaled_bt=-1"], "expected weights of 0 or more"),
        (["loss=scaled_bt", "loss.reads=ratings"], "loss.reads=ratings: loss scaled_bt expects pairs"),
        (["data.ties=keep"], "data.ties=keep: expected one of drop, stop"),
        (["data.template=chatml"], "data.template=chatml: expected one of extra_id, llama3, tokenizer"),
    ],
)
def test_settings_that_cannot_work_together_are_refused(overrides: list[str], message: str) -> None:
    assert message in refusal(*overrides)


def test_a_layout_that_does_not_divide_the_model_is_refused_with_what_does() -> None:
    message = refusal("model=smollm2", "parallel=tp2", checkpoint=SMOLLM2)
    assert "model.tensor_model_parallel_size=2 does not divide num_attention_heads 9; possible: 1, 3, 9" in message


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.ffn_hidden_size=28676"], "tensor_model_parallel_size=8 does not divide ffn_hidden_size 28676"),
        (["model.override_vocab_size=128260"], "does not divide override_vocab_size 128260"),
        (["model.encoder_seq_length=4090"], "which sequence_parallel needs; try 4096"),
        (["model.num_query_groups=4"], "does not divide num_query_groups 4; possible: 1, 2, 4"),
        (["model.num_layers=81"], "model.pipeline_model_parallel_size=2 does not divide num_layers 81"),
    ],
)
def test_a_layout_that_does_not_divide_what_it_cuts_is_refused(overrides: list[str], message: str) -> None:
    assert message in refusal(*overrides)


def test_a_checkpoint_with_added_tokens_is_not_refused() -> None:
    check(load(), {"vocab_size": 128_300, "override_vocab_size": 128_384})


def test_a_checkpoint_of_another_size_is_refused() -> None:
    assert "model.hidden_size=8192, but the checkpoint base has 576" in refusal(checkpoint=SMOLLM2)


def test_a_head_that_is_not_there_cannot_be_loaded() -> None:
    message = refusal("model=smollm2", "head.load_rm_head_weights=true", checkpoint=SMOLLM2)
    assert "has no reward head" in message


def test_a_head_with_other_attributes_cannot_be_loaded() -> None:
    checkpoint = {**SMOLLM2, "head": {"attributes": ["helpfulness"], "bias": False}}
    assert "the checkpoint's head has" in refusal(
        "model=smollm2", "head.load_rm_head_weights=true", checkpoint=checkpoint
    )


@pytest.mark.parametrize("stored", [True, False])
def test_a_head_is_loaded_with_its_bias_or_without_one(stored: bool) -> None:
    names = ["quality", "toxicity", "humor", "creativity", "helpfulness", "correctness", "coherence", "complexity"]
    checkpoint = {**SMOLLM2, "head": {"attributes": [*names, "verbosity"], "bias": stored}}
    message = refusal("head.load_rm_head_weights=true", f"head.bias={not stored}", checkpoint=checkpoint)
    assert f"the checkpoint's head has {'a' if stored else 'no'} bias; set it to {str(stored).lower()}" in message


def test_all_faults_are_reported_together() -> None:
    message = refusal("model.optim.lr=0", "loss.name=mse", "data.ties=keep")
    assert all(key in message for key in ("model.optim.lr", "loss.name", "data.ties"))


def test_the_command_prints_the_resolved_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    """Fault 11 of Aligner: its own configuration cannot be resolved for printing."""
    assert main(["train", "rm", "--print-config", *GIVEN, "model.optim.lr=4e-6"]) == 0
    assert "min_lr: 4.0e-06" in capsys.readouterr().out


def test_a_wrong_key_on_the_command_line_ends_with_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "rm", "--print-config", *GIVEN, "model.otpim.lr=4e-6"]) == 2
    assert capsys.readouterr().err == (
        "hs2pref train: error: unknown key model.otpim.lr; did you mean model.optim.lr?\n"
    )


def test_a_run_folder_does_not_go_on_with_another_run() -> None:
    _, stored = load_reward_model_config("train_rm", [*GIVEN, "loss=regression"])
    run = OmegaConf.to_container(stored)
    assert isinstance(run, dict)
    refuse_other_run("runs/a", run, load_reward_model_config("train_rm", [*GIVEN, "model.micro_batch_size=2"])[1])
    with pytest.raises(ConfigError, match=r"runs/a holds a run with loss\.name=regression, asked for is scaled_bt"):
        refuse_other_run("runs/a", run, load_reward_model_config("train_rm", [*GIVEN, "loss=scaled_bt"])[1])


def test_every_key_has_a_comment_or_stands_in_a_commented_file() -> None:
    for path in Path(config_dir()).rglob("*.yaml"):
        assert path.read_text().lstrip().startswith("#"), f"{path} does not say what it is"


def test_a_validation_set_of_ones_own_is_one_override() -> None:
    config = load("data.validation.safety=safety.jsonl", "~data.validation.ratings")
    assert config.data.validation == {"pairs": "pairs.validation.jsonl", "safety": "safety.jsonl"}


def test_a_combined_loss_may_have_any_weights() -> None:
    config = load(
        "loss=combined", "loss.weights.regression=0.25", "loss.weights.scaled_bt=0", "loss.weights.margin_bt=2"
    )
    check(config, {})
    assert (config.loss.reads, config.data.train) == ("pairs", "pairs.train.jsonl")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("model.optim.lr=3e-6", r"model\.optim\.lr=1e-06, asked for is 3e-06"),
        ("exp_manager.checkpoint_callback_params.monitor=val_pairs_loss", r"checkpoint_callback_params\.monitor"),
        ("trainer.rm.limit_val_batches=3", r"limit_val_batches"),
    ],
)
def test_a_resumed_run_does_not_take_what_its_state_would_overrule_or_cannot_be_compared(
    override: str, key: str
) -> None:
    """The stored schedule brings its own learning rate, and the best value so far its own metric."""
    run = OmegaConf.to_container(load_reward_model_config("train_rm", GIVEN)[1])
    assert isinstance(run, dict)
    with pytest.raises(ConfigError, match=key):
        refuse_other_run("runs/a", run, load_reward_model_config("train_rm", [*GIVEN, override])[1])


def test_a_run_may_be_lengthened_only_where_its_learning_rate_is_constant() -> None:
    def lengthened(*schedule: str) -> None:
        run = OmegaConf.to_container(load_reward_model_config("train_rm", [*GIVEN, *schedule])[1])
        assert isinstance(run, dict)
        longer = load_reward_model_config("train_rm", [*GIVEN, *schedule, "trainer.rm.max_epochs=2"])[1]
        refuse_other_run("runs/a", run, longer)

    lengthened()
    with pytest.raises(ConfigError, match=r"trainer\.rm\.max_epochs=1, asked for is 2"):
        lengthened("model.optim.sched.min_lr=1e-7")
