"""Rules of every run."""

import re
from collections.abc import Iterator
from dataclasses import asdict

from nemo_hs2pref.config.durations import parse_duration
from nemo_hs2pref.config.rules.checking import Checkpoint, Rule
from nemo_hs2pref.config.rules.layout import LAYOUT_RULES, too_many
from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.config.schema.fields import said
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.masking import masked
from nemo_hs2pref.yaml_files import texts


def secrets(config: RunConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """The configuration stands in clear in the run folder, its checkpoints, W&B and the report."""
    for key, text in texts(asdict(config)):
        if masked(text) != text:
            yield f"{key} looks like a secret, which would stand in clear in the run folder; export it as a variable"


def values(config: RunConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """What the field of each key says of its value."""
    for key, value, about in said(config):
        if about.check is not None and (fault := about.check(value)):
            yield f"{key}={value}: {fault}"


def time_limit(config: RunConfig, checkpoint: Checkpoint) -> Iterator[str]:
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


def precision(config: RunConfig, checkpoint: Checkpoint) -> Iterator[str]:
    if config.model.megatron_amp_O2 != (config.trainer.precision == "bf16"):
        yield (
            f"trainer.precision={config.trainer.precision} with model.megatron_amp_O2={config.model.megatron_amp_O2}: "
            "bf16 trains with O2 (float32 main parameters), 32 without"
        )


def recomputation(config: RunConfig, checkpoint: Checkpoint) -> Iterator[str]:
    model = config.model
    method, layers = model.activations_checkpoint_method, model.activations_checkpoint_num_layers
    if model.activations_checkpoint_granularity == "full" and (method not in ("uniform", "block") or not layers):
        yield (
            "model.activations_checkpoint_granularity=full needs activations_checkpoint_method (uniform or block) "
            "and activations_checkpoint_num_layers"
        )


def adapters(config: RunConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """LoRA's settings, where it is chosen."""
    scheme, tuning = config.model.peft.peft_scheme, config.model.peft.lora_tuning
    if scheme != ("none" if tuning is None else "lora"):
        yield f"model.peft.peft_scheme={scheme}: choose it with peft=none or peft=lora"
    if tuning is None:
        return
    tensor = config.model.tensor_model_parallel_size
    if tuning.adapter_dim <= 0 or (tensor > 0 and tuning.adapter_dim % tensor):
        yield (
            f"model.peft.lora_tuning.adapter_dim={tuning.adapter_dim}: must be a multiple of "
            f"model.tensor_model_parallel_size={tensor}"
        )


def validation_sets(config: RunConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """In val_<set>_<metric> the first underscore after val_ ends the name of the set."""
    for name in config.data.validation:
        if not re.fullmatch(r"[A-Za-z0-9-]+", name):
            yield f"data.validation.{name}: expected a name of letters, digits and hyphens"


def monitor(config: RunConfig, checkpoint: Checkpoint) -> Iterator[str]:
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


RULES: tuple[Rule[RunConfig], ...] = (
    secrets, values, too_many, time_limit, *LAYOUT_RULES, precision, recomputation, adapters, validation_sets, monitor,
)  # fmt: skip
