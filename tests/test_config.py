"""The configuration is closed, checked before anything is built, and the paper's numbers stand where they should."""

import shlex
import shutil
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from nemo_hs2pref.cli import main
from nemo_hs2pref.config.load import config_dir, schema_keys
from nemo_hs2pref.config.overrides import for_hydra, kinds_of
from nemo_hs2pref.config.schema.fields import keys_of
from nemo_hs2pref.config.schema.reward_model import RewardModelConfig
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.launch.jobs.cluster import load_cluster
from nemo_hs2pref.recipes.rm import RECIPE, load_reward_model_config

GIVEN = ("exp_manager.explicit_log_dir=run", "pretrained_checkpoint.restore_from_path=base", "data.dir=data")
MISSING = ["exp_manager.explicit_log_dir", "pretrained_checkpoint.restore_from_path"]
SMOLLM2 = {"num_layers": 30, "hidden_size": 576, "num_attention_heads": 9, "num_query_groups": 3}


def load(*overrides: str) -> RewardModelConfig:
    return load_reward_model_config([*GIVEN, *overrides])[0]


def refusal(*overrides: str, checkpoint: dict | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        RECIPE.check(load(*overrides), checkpoint or {})
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
        load_reward_model_config([])
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
        (["loss=combined", "loss.weights.scaled_bt=0"], "needs weights above 0 for two terms or more"),
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
    RECIPE.check(load(), {"vocab_size": 128_300, "override_vocab_size": 128_384})


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
    _, stored = load_reward_model_config([*GIVEN, "loss=regression"])
    run = OmegaConf.to_container(stored)
    assert isinstance(run, dict)
    RECIPE.refuse_other_run("runs/a", run, load_reward_model_config([*GIVEN, "model.micro_batch_size=2"])[1])
    with pytest.raises(ConfigError, match=r"runs/a holds a run with loss\.name=regression, asked for is scaled_bt"):
        RECIPE.refuse_other_run("runs/a", run, load_reward_model_config([*GIVEN, "loss=scaled_bt"])[1])


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
    RECIPE.check(config, {})
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
    run = OmegaConf.to_container(load_reward_model_config(GIVEN)[1])
    assert isinstance(run, dict)
    with pytest.raises(ConfigError, match=key):
        RECIPE.refuse_other_run("runs/a", run, load_reward_model_config([*GIVEN, override])[1])


def test_a_run_may_be_lengthened_only_where_its_learning_rate_is_constant() -> None:
    def lengthened(*schedule: str) -> None:
        run = OmegaConf.to_container(load_reward_model_config([*GIVEN, *schedule])[1])
        assert isinstance(run, dict)
        longer = load_reward_model_config([*GIVEN, *schedule, "trainer.rm.max_epochs=2"])[1]
        RECIPE.refuse_other_run("runs/a", run, longer)

    lengthened()
    with pytest.raises(ConfigError, match=r"trainer\.rm\.max_epochs=1, asked for is 2"):
        lengthened("model.optim.sched.min_lr=1e-7")


# Text of the command line


TEXTS = ("2024_11_05", "1e5", "0123", "1_000", "+5", "true", "False", "None", "NULL", "nan", "inf", "2024-11-05", "1.")


@pytest.mark.parametrize("text", TEXTS)
def test_text_keys_keep_their_text(text: str, tmp_path: Path) -> None:
    """Hydra makes 20241105 of 2024_11_05 and 100000.0 of 1e5, and the run is filed under another name."""
    keys = sorted(key for key in schema_keys(RewardModelConfig) if str in kinds_of(RewardModelConfig, key))
    keys = [key.replace("*", "mine") for key in keys if key != "loss.reads"]  # other keys are made of it
    assert {"data.dir", "exp_manager.wandb_logger_kwargs.name", "data.validation.mine", "model.optim.name"} <= {*keys}
    words = [f"{key}={text}" for key in keys] + [f"head.attributes=[{text}, quality]", f"++data.train={text}"]
    config, resolved = load_reward_model_config(words)
    OmegaConf.save(resolved, tmp_path / "config.yaml")  # what a run writes, and its checkpoints carry
    for found in (OmegaConf.structured(config), resolved, OmegaConf.load(tmp_path / "config.yaml")):
        assert {key: OmegaConf.select(found, key) for key in keys} == dict.fromkeys(keys, text)
        assert list(found.head.attributes) == [text, "quality"]
    inline = load(f"data.validation={{mine: {text}}}").data.validation
    assert inline["mine"] == text and "pairs" in inline


@pytest.mark.parametrize("text", TEXTS)
def test_text_of_a_cluster_is_kept_too(text: str) -> None:
    words = (f"cluster.account={text}", f"cluster.environment.RUN={text}", f"cluster.sbatch_flags=[{text}]")
    cluster = load_cluster(words)
    assert (cluster.account, cluster.environment["RUN"], cluster.sbatch_flags) == (text, text, [text])


def test_null_is_null_where_a_key_may_be_null_and_refused_elsewhere() -> None:
    key = "exp_manager.wandb_logger_kwargs.name"
    assert load(f"{key}=null").exp_manager.wandb_logger_kwargs.name is None
    assert load(f"{key}='null'").exp_manager.wandb_logger_kwargs.name == "null"
    assert "expected text, not null; for the text type 'data.dir=\"null\"'" in refusal("data.dir=null")


def test_a_number_in_yaml_where_text_is_expected_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    conf = shutil.copytree(config_dir(), tmp_path / "conf")
    (conf / "experiment" / "mine.yaml").write_text("# @package _global_\nhead:\n  attributes: [1_000]\n")
    (conf / "experiment" / "2024_11_05.yaml").write_text("# @package _global_\nmodel:\n  seed: 5\n")
    monkeypatch.setattr("nemo_hs2pref.config.load.config_dir", lambda: conf)
    assert "head.attributes=1000: YAML makes that of a text without quotes" in refusal("experiment=mine")
    assert load("experiment=2024_11_05").model.seed == 5


SHELL = [*map(chr, range(32, 127)), *("ü", "日本", "\t", "\n", "'\"", '\\"', "f(x)", "{a: b}", "[a]", "a,b", "k=v")]


def as_hydra_reads(word: str) -> object:
    (given,) = for_hydra([word], RewardModelConfig, [])
    return OverridesParser.create().parse_override(given).value()


def test_text_that_hydra_cannot_read_is_refused_with_the_form_to_type() -> None:
    """Each character alone, at the edges and inside; what is typed as told gives the text that was meant."""
    refused = 0
    for odd in SHELL:
        for text in (odd, f"runs/{odd}", f"{odd}runs", f"runs/{odd}/b", f"{odd}{odd}"):
            if not text.strip("'\" \t\n") or odd == "\\":  # empty; Hydra's own sign, which need not be refused
                continue
            try:
                found = as_hydra_reads(f"data.dir={text}")
            except ConfigError as error:
                (word,) = shlex.split(str(error).removeprefix(f"data.dir={text}: ").partition("; type ")[2])
                found, refused = as_hydra_reads(word), refused + 1
            assert found == (text[1:-1] if text[0] == text[-1] and text[0] in "'\"" else text)
    assert refused > 100


@pytest.mark.parametrize("text", ["runs/é!", "a=b, {c}", 'it\'s ("here")'])
def test_the_form_to_type_works_for_every_text_key(text: str) -> None:
    for key in ("data.dir", "data.validation.mine", "exp_manager.wandb_logger_kwargs.name"):
        (word,) = shlex.split(refusal(f"{key}={text}").partition("; type ")[2])
        assert OmegaConf.select(OmegaConf.structured(load(word)), key) == text
    with pytest.raises(ConfigError) as error:
        load_cluster([f"cluster.environment.NAME={text}"])
    assert load_cluster(shlex.split(str(error.value).partition("; type ")[2])).environment["NAME"] == text


def test_a_list_with_such_text_is_refused_with_the_form_to_type() -> None:
    for given in ("[good, a b!]", "good,a b!", "'good'", "[good, {a: b}]"):
        told = refusal(f"head.attributes={given}")
        (word,) = shlex.split(told.partition("; type ")[2])
        assert load(word).head.attributes[0] == "good"
    assert load("head.attributes=[\"good\",'a b!']").head.attributes == ["good", "a b!"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.optim.lr=1e-4!", "model.optim.lr=1e-4!: expected a number"),
        ("model.seed=1,2", "model.seed=1,2: expected a whole number"),
        ("data.dir", "'data.dir': expected key=value"),
        ("data.dir=run${", "${ begins a reference to another key or to a variable, and this is none"),
        ("data.dir=", "data.dir='': is empty"),
        ("data.validation.pairs=' '", "data.validation.pairs=' ': is empty"),
        ("head.attributes=['']", "head.attributes='': is empty"),
        ("model.optim.lr=nan", "model.optim.lr=nan: expected a finite number"),
        ("loss.weights.regression=-inf", "loss.weights.regression=-inf: expected a finite number"),
        ("model.optim.betas=[0.9,nan]", "model.optim.betas=nan: expected a finite number"),
    ],
)
def test_what_no_run_can_use_is_refused(override: str, message: str) -> None:
    assert message in refusal(override)


def test_every_number_of_the_schema_must_be_finite() -> None:
    keys = [key for key in schema_keys(RewardModelConfig) if float in kinds_of(RewardModelConfig, key)]
    keys = [key.replace("weights.*", "weights.scaled_bt") for key in keys] + ["loss.weights.scaled_bt"]
    assert len(keys) >= 10
    for key in keys:
        given = ["peft=lora"] if "lora" in key else []
        assert f"{key}=inf: expected a finite number" in refusal(*given, f"{key}=inf")


def test_a_variable_that_is_not_set_is_named_with_the_form_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HS2PREF_NOWHERE", raising=False)
    told = refusal("data.dir=${oc.env:HS2PREF_NOWHERE}/rows")
    assert "data.dir=${oc.env:HS2PREF_NOWHERE}/rows: the environment variable HS2PREF_NOWHERE is not set" in told
    (word,) = shlex.split(told.partition("stands for it: ")[2])
    assert load(word).data.dir == "VALUE/rows"
    monkeypatch.setenv("HS2PREF_NOWHERE", "1e5")
    assert load(word).data.dir == "1e5/rows"


def test_values_that_are_missing_are_shown_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "rm", "--print-config", "data.dir=data", "data.train=${data.dir}.jsonl"]) == 0
    output = capsys.readouterr()
    shown = OmegaConf.create(output.out)
    assert sorted(OmegaConf.missing_keys(shown)) == MISSING
    assert (shown.data.dir, shown.data.train) == ("data", "data.jsonl")
    assert output.err == f"hs2pref train: missing: {', '.join(MISSING)}\n"
    assert main(["train", "rm", "--print-config", "model.optim.lr=???"]) == 0  # others are made of it
    assert "lr: ???" in capsys.readouterr().out
    assert main(["train", "rm", "--print-config", "model.optim.lr=0"]) == 2  # what is given is checked
    assert "model.optim.lr=0.0: must be greater than 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["extrapolate", "--weak", "a", "--strong", "b", "--out", "c", "--alpha", "nan"],
        ["extrapolate", "--average", "a", "b", "--out", "c", "--weights", "1", "inf"],
        ["data", "prepare", "--source", "sample", "--out", "c", "--validation-share", "nan"],
        ["preflight", "--wait=-inf"],
        ["extrapolate", "--weak", "", "--strong", "b", "--out", "c"],
        ["quickstart", "--out="],
        ["score", "--model", " ", "--input", "i", "--output", "o"],
        ["data", "inspect", ""],
        ["convert", "from-hf", "smollm2", ""],
        ["train", "rm", ""],
    ],
)
def test_empty_words_and_numbers_that_are_not_finite_are_refused_by_every_verb(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Path("") is the working folder."""
    assert main(words) == 2
    error = capsys.readouterr().err
    assert ("expected a finite number" in error or "is empty; give a value" in error) and error.count("\n") == 1


@pytest.mark.parametrize("text", ["a\\,b", "\\\\", "a\\ b", "a\\=b", "a\\(b"])
def test_a_backslash_is_never_lost(text: str) -> None:
    with pytest.raises(ConfigError, match="takes the backslash out of text") as caught:
        load_reward_model_config([*GIVEN, f"data.dir={text}"])
    (word,) = shlex.split(str(caught.value).partition(" type ")[2])
    config, _ = load_reward_model_config([*GIVEN, word])
    assert config.data.dir == text


@pytest.mark.parametrize(
    ("word", "said"),
    [("data.validation={}", "~data.validation.NAME"), ("hydra.run.dir=/x", "unknown key hydra.run.dir")],
)
def test_what_hydra_would_take_for_something_else_is_refused(word: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_reward_model_config([*GIVEN, word])


MAY_CHANGE = {
    "length": {"trainer.rm.max_epochs", "trainer.rm.max_steps"},
    "ends": {
        "exp_manager.create_early_stopping_callback",
        "exp_manager.early_stopping_callback_params.min_delta",
        "exp_manager.early_stopping_callback_params.patience",
    },
    "free": {
        *("trainer.num_nodes", "trainer.devices", "trainer.rm.val_check_interval", "trainer.rm.save_interval"),
        *(f"exp_manager.{name}" for name in ("explicit_log_dir", "resume_if_exists", "max_time_per_run")),
        *(f"exp_manager.{name}" for name in ("save_margin_s", "create_tensorboard_logger", "create_wandb_logger")),
        *("exp_manager.wandb_logger_kwargs.project", "exp_manager.wandb_logger_kwargs.name"),
        "exp_manager.checkpoint_callback_params.save_top_k",
        *(f"model.{name}" for name in ("micro_batch_size", "sequence_parallel", "megatron_amp_O2")),
        *(f"model.{name}_model_parallel_size" for name in ("tensor", "pipeline")),
        *(f"model.activations_checkpoint_{name}" for name in ("granularity", "method", "num_layers")),
        *(f"model.{name}" for name in ("num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads")),
        *("model.num_query_groups", "model.override_vocab_size", "model.qkv_bias", "data.packed_sequence"),
    },
}


def test_every_other_key_must_stay_when_a_run_goes_on() -> None:
    """A key that is new is refused to change until its field says otherwise."""
    found = {
        name: {key for key, about in keys_of(RewardModelConfig) if about.may_change == name} for name in MAY_CHANGE
    }
    assert found == MAY_CHANGE


@pytest.mark.parametrize("override", ["data.ties=stop", "data.shuffle=false", "model.optim.weight_decay=0"])
def test_a_changed_key_is_refused_and_named(override: str) -> None:
    run = OmegaConf.to_container(load_reward_model_config(GIVEN)[1])
    key = override.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"holds a run with {key}=.*, asked for is"):
        RECIPE.refuse_other_run("runs/a", run, load_reward_model_config([*GIVEN, override])[1])


def test_a_run_that_is_older_than_a_term_of_the_loss_had_weight_0_for_it() -> None:
    run = OmegaConf.to_container(load_reward_model_config(GIVEN)[1])
    del run["loss"]["weights"]["margin_bt"]
    RECIPE.refuse_other_run("runs/a", run, load_reward_model_config(GIVEN)[1])
    with pytest.raises(ConfigError, match=r"loss\.weights"):
        RECIPE.refuse_other_run("runs/a", run, load_reward_model_config([*GIVEN, "loss.weights.margin_bt=1"])[1])


def test_no_term_of_the_loss_can_be_made_up() -> None:
    assert "did you mean loss.weights.scaled_bt?" in refusal("loss.weights.scaledbt=1")
    assert "loss.weights takes no new names" in refusal("+loss.weights.scaledbt=1")
    assert "loss.weights takes no new names" in refusal("++loss.weights.scaledbt=1")
