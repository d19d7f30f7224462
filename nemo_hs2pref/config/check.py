"""Rules between keys, as a flat list of small functions; all failures are reported together.

They need no NeMo, no GPU and no model, so a login node can run them before anything queues.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from nemo_hs2pref.config.durations import parse_duration
from nemo_hs2pref.config.parallel import LAYOUT_RULES, Checkpoint, Rule, too_many
from nemo_hs2pref.config.schema import RewardModelConfig
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.masking import masked
from nemo_hs2pref.yaml_files import texts

LOSSES = ("regression", "regular_bt", "margin_bt", "scaled_bt", "combined")
TEMPLATES = ("extra_id", "llama3", "tokenizer")  # data/templates.py, which this room does not import
ADAPTED = ("attention_qkv", "attention_dense", "mlp_fc1", "mlp_fc2", "attention", "mlp", "all")  # NeMo's names


def check(config: RewardModelConfig, checkpoint: Checkpoint) -> None:
    """Raise one ConfigError with every broken rule."""
    faults = faults_of(config, checkpoint)
    if faults:
        raise ConfigError(listed(faults))


def secrets(config: RewardModelConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """The configuration stands in clear in the run folder, its checkpoints, W&B and the report."""
    for key, text in texts(asdict(config)):
        if masked(text) != text:
            yield f"{key} looks like a secret, which would stand in clear in the run folder; export it as a variable"


def listed(faults: Sequence[str]) -> str:
    if len(faults) == 1:
        return faults[0]
    return f"{len(faults)} settings cannot work:" + "".join(f"\n  {fault}" for fault in faults)


def faults_of(config: RewardModelConfig, checkpoint: Checkpoint) -> list[str]:
    """One sentence for every broken rule."""
    return [fault for rule in RULES for fault in rule(config, checkpoint)]


def choices(config: RewardModelConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """Values from a short list."""
    exp_manager = config.exp_manager
    for key, value, allowed in (
        ("trainer.precision", config.trainer.precision, ("bf16", "32")),
        ("loss.name", config.loss.name, LOSSES),
        ("data.ties", config.data.ties, ("drop", "stop")),
        ("data.template", config.data.template, TEMPLATES),
        ("exp_manager.checkpoint_callback_params.mode", exp_manager.checkpoint_callback_params.mode, ("min", "max")),
        ("exp_manager.early_stopping_callback_params.mode", exp_manager.early_stopping_callback_params.mode,
         ("min", "max")),
        ("model.optim.name", config.model.optim.name, ("mcore_distributed_optim",)),
        ("model.activations_checkpoint_granularity", config.model.activations_checkpoint_granularity,
         (None, "selective", "full")),
    ):  # fmt: skip
        if value not in allowed:
            yield f"{key}={value}: expected one of {', '.join(map(str, allowed))}"


def positive(config: RewardModelConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """Counts and sizes that must be at least one."""
    model, stop = config.model, config.exp_manager.early_stopping_callback_params
    kept = config.exp_manager.checkpoint_callback_params.save_top_k
    if kept < 0:
        yield f"exp_manager.checkpoint_callback_params.save_top_k={kept}: expected 0 (none) or how many to keep"
    if config.trainer.rm.max_steps == 0:
        yield "trainer.rm.max_steps=0: expected a number of steps, or -1 to let max_epochs decide"
    for key, value in (
        ("trainer.num_nodes", config.trainer.num_nodes),
        ("trainer.devices", config.trainer.devices),
        ("trainer.rm.max_epochs", config.trainer.rm.max_epochs),
        ("model.micro_batch_size", model.micro_batch_size),
        ("model.global_batch_size", model.global_batch_size),
        ("model.tensor_model_parallel_size", model.tensor_model_parallel_size),
        ("model.pipeline_model_parallel_size", model.pipeline_model_parallel_size),
        ("model.encoder_seq_length", model.encoder_seq_length),
        ("model.optim.lr", model.optim.lr),
        ("exp_manager.early_stopping_callback_params.patience", stop.patience),
    ):
        if value <= 0:
            yield f"{key}={value}: must be greater than 0"


def time_limit(config: RewardModelConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """A length of time, and one that leaves some for training."""
    limit, margin = config.exp_manager.max_time_per_run, config.exp_manager.save_margin_s
    if margin < 0:
        yield f"exp_manager.save_margin_s={margin:g}: expected seconds, 0 or more"
    if limit is None:
        return
    try:
        seconds = parse_duration(limit)
    except ConfigError as error:
        yield f"exp_manager.max_time_per_run: {error}"
        return
    if seconds <= margin:
        yield (
            f"exp_manager.max_time_per_run={limit} is {seconds:g} s, of which exp_manager.save_margin_s={margin:g} "
            "are kept for saving; nothing is left"
        )


def precision(config: RewardModelConfig, checkpoint: Checkpoint) -> Iterator[str]:
    if config.model.megatron_amp_O2 != (config.trainer.precision == "bf16"):
        yield (
            f"trainer.precision={config.trainer.precision} with model.megatron_amp_O2={config.model.megatron_amp_O2}: "
            "bf16 trains with O2 (float32 main parameters), 32 without"
        )


def head(config: RewardModelConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """Slots, weights, rated attributes and the checkpoint's head fit each other."""
    names, weights = config.head.attributes, config.head.reward_weights
    if len(set(names)) != len(names) or not names:
        yield f"head.attributes={names}: expected different names, at least one"
    if len(weights) != len(names):
        yield f"head.reward_weights has {len(weights)} numbers, head.attributes has {len(names)}; one weight a slot"
    elif not any(weights):
        yield "head.reward_weights are all 0: every reward would be 0"
    unknown = [name for name in config.data.attributes if name not in names]
    if unknown or not config.data.attributes:
        yield f"data.attributes={config.data.attributes}: expected a selection of head.attributes {names}"
    stored = checkpoint.get("head")
    if config.head.load_rm_head_weights and checkpoint and stored is None:
        yield (
            f"head.load_rm_head_weights=true, but {config.pretrained_checkpoint.restore_from_path} has no reward head; "
            "set it to false or start from a reward model"
        )
    if config.head.load_rm_head_weights and stored is not None and list(stored["attributes"]) != list(names):
        yield f"head.attributes={names}, but the checkpoint's head has {list(stored['attributes'])}"
    if config.head.load_rm_head_weights and stored is not None and stored["bias"] != config.head.bias:
        has, value = ("a", "true") if stored["bias"] else ("no", "false")
        yield f"head.bias={str(config.head.bias).lower()}, but the checkpoint's head has {has} bias; set it to {value}"


def recomputation(config: RewardModelConfig, checkpoint: Checkpoint) -> Iterator[str]:
    model = config.model
    method, layers = model.activations_checkpoint_method, model.activations_checkpoint_num_layers
    if model.activations_checkpoint_granularity == "full" and (method not in ("uniform", "block") or not layers):
        yield (
            "model.activations_checkpoint_granularity=full needs activations_checkpoint_method (uniform or block) "
            "and activations_checkpoint_num_layers"
        )


def adapters(config: RewardModelConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """LoRA's settings, where it is chosen."""
    scheme, tuning = config.model.peft.peft_scheme, config.model.peft.lora_tuning
    if scheme != ("none" if tuning is None else "lora"):
        yield f"model.peft.peft_scheme={scheme}: choose it with peft=none or peft=lora"
    if tuning is None:
        return
    key, tensor = "model.peft.lora_tuning", config.model.tensor_model_parallel_size
    if tuning.adapter_dim <= 0 or (tensor > 0 and tuning.adapter_dim % tensor):
        yield f"{key}.adapter_dim={tuning.adapter_dim}: must be a multiple of model.tensor_model_parallel_size={tensor}"
    if tuning.alpha <= 0:
        yield f"{key}.alpha={tuning.alpha}: must be greater than 0"
    if not 0 <= tuning.adapter_dropout < 1:
        yield f"{key}.adapter_dropout={tuning.adapter_dropout}: must be a probability below 1"
    if not tuning.target_modules or not set(tuning.target_modules) <= set(ADAPTED):
        yield f"{key}.target_modules={tuning.target_modules}: expected a selection of {', '.join(ADAPTED)}"


def loss(config: RewardModelConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """A named loss is that term alone; `combined` is a sum of regression and Bradley-Terry on pairs."""
    weights = asdict(config.loss.weights)
    name, trained = config.loss.name, [term for term, weight in weights.items() if weight]
    if any(weight < 0 for weight in weights.values()):
        yield f"loss.weights={weights}: expected weights of 0 or more"
    if name in weights and trained != [name]:
        yield (
            f"loss={name} trains {name} alone, but loss.weights also name {' + '.join(trained) or 'nothing'}; "
            "choose loss=combined for a weighted sum"
        )
    if name == "combined" and ("regression" not in trained or len(trained) < 2):
        yield f"loss=combined needs weights above 0 for regression and for a Bradley-Terry term, got {weights}"
    wanted = ("ratings", "pairs") if trained == ["regression"] else ("pairs",)
    if config.loss.reads not in wanted:
        yield f"loss.reads={config.loss.reads}: loss {name} expects {' or '.join(wanted)}"


def validation_sets(config: RewardModelConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """In val_<set>_<metric> the first underscore after val_ ends the name of the set."""
    for name in config.data.validation:
        if not re.fullmatch(r"[A-Za-z0-9-]+", name):
            yield f"data.validation.{name}: expected a name of letters, digits and hyphens"


def monitor(config: RewardModelConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """What decides on checkpoints and the early stop is measured on a set; its metrics are known with the data."""
    exp_manager, sets = config.exp_manager, config.data.validation
    for key, asked, params in (
        ("checkpoint_callback_params", exp_manager.checkpoint_callback_params.save_top_k > 0 and bool(sets),
         exp_manager.checkpoint_callback_params),
        ("early_stopping_callback_params", exp_manager.create_early_stopping_callback,
         exp_manager.early_stopping_callback_params),
    ):  # fmt: skip
        if asked and not any(params.monitor.startswith(f"val_{name}_") for name in sets):
            given = ", ".join(f"val_{name}_..." for name in sets) or "nothing"
            yield f"exp_manager.{key}.monitor={params.monitor}: the sets of data.validation give {given}"
        wanted = best_mode(params.monitor)
        if asked and wanted and params.mode != wanted:
            yield f"exp_manager.{key}: {params.monitor} is best at its {wanted}, but mode={params.mode}"


def best_mode(monitor: str) -> str | None:
    """min or max where one of them is better; None for what is neither, as a mean reward."""
    metric = monitor.split("_", 2)[-1]
    if metric.startswith(("accuracy", "margin", "pearson_")):
        return "max"
    return "min" if metric.startswith(("loss", "mse_")) else None


RULES: tuple[Rule, ...] = (
    secrets, choices, positive, too_many, time_limit, *LAYOUT_RULES, precision, head, recomputation, adapters, loss,
    validation_sets, monitor,
)  # fmt: skip
