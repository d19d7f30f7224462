"""Every run: machine, folder, model, optimizer, rows. Values and their sources stand in conf/.

Keys that users of NeMo-Aligner know keep their names and places. What a recipe adds stands in a module of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from omegaconf import MISSING

from nemo_hs2pref.config.footprint import Footprint
from nemo_hs2pref.config.schema.fields import ENDS, FREE, LENGTH, key, one_of, positive, probability, some_of

TEMPLATES = ("extra_id", "llama3", "tokenizer")  # data/templates, which this package does not import
ADAPTED = ("attention_qkv", "attention_dense", "mlp_fc1", "mlp_fc2", "attention", "mlp", "all")  # NeMo's names


def steps_or_epochs(value: int) -> str | None:
    return "expected a number of steps, or -1 to let max_epochs decide" if value == 0 else None


def number_to_keep(value: int) -> str | None:
    return "expected 0 (none) or how many to keep" if value < 0 else None


@dataclass
class Loop:
    """trainer.<recipe>: the training loop, as in Aligner."""

    max_epochs: int = key(positive, may_change=LENGTH)  # passes over the training items
    max_steps: int = key(steps_or_epochs, may_change=LENGTH)  # optimizer steps at most; -1: max_epochs alone decides
    val_check_interval: int = key(may_change=FREE)  # steps between validations; 0: only at the end
    save_interval: int = key(may_change=FREE)  # steps between resume states; 0: only at the end
    limit_val_batches: int = key()  # global batches of a validation; -1: all
    gradient_clip_val: float = key()  # largest gradient norm; 0: no clipping


@dataclass
class Trainer:
    """trainer: the machine; a recipe adds its loop."""

    num_nodes: int = key(positive, may_change=FREE)
    devices: int = key(positive, may_change=FREE)  # processes on a node, one a GPU
    precision: str = key(one_of("bf16", "32"))


@dataclass
class CheckpointParams:
    """exp_manager.checkpoint_callback_params: which weights are kept besides the resume state."""

    monitor: str = key()  # val_<set>_<metric>: val_pairs_loss, val_pairs_accuracy, val_ratings_mse_helpfulness ...
    mode: str = key(one_of("min", "max"))
    save_top_k: int = key(number_to_keep, may_change=FREE)  # best weights kept; 0: none


@dataclass
class EarlyStoppingParams:
    """exp_manager.early_stopping_callback_params: when a run ends before its last step."""

    monitor: str = key()  # val_<set>_<metric>
    mode: str = key(one_of("min", "max"))
    patience: int = key(positive, may_change=ENDS)  # validations in a row that are no better
    min_delta: float = key(may_change=ENDS)  # what counts as better, in units of the metric


@dataclass
class WandbParams:
    """exp_manager.wandb_logger_kwargs: where Weights & Biases files the run."""

    project: str = key(may_change=FREE)
    name: str | None = key(may_change=FREE)  # null: the run folder's name


@dataclass
class ExpManager:
    """exp_manager: where a run writes."""

    explicit_log_dir: str = key(may_change=FREE)  # the run's folder
    resume_if_exists: bool = key(may_change=FREE)  # continue from the run folder's resume state where there is one
    max_time_per_run: str | None = key(may_change=FREE)  # a start saves and stops within it; forms: durations.py
    save_margin_s: float = key(may_change=FREE)  # seconds kept for saving before the limit and the job's end; 0 or more
    create_tensorboard_logger: bool = key(may_change=FREE)
    create_wandb_logger: bool = key(may_change=FREE)
    wandb_logger_kwargs: WandbParams = field(default_factory=WandbParams)
    checkpoint_callback_params: CheckpointParams = field(default_factory=CheckpointParams)
    create_early_stopping_callback: bool = key(may_change=ENDS)
    early_stopping_callback_params: EarlyStoppingParams = field(default_factory=EarlyStoppingParams)


@dataclass
class PretrainedCheckpoint:
    restore_from_path: str = key()  # checkpoint folder to start from


@dataclass
class Schedule:
    """model.optim.sched: NeMo's CosineAnnealing; constant after warm-up when min_lr equals lr."""

    name: str = key()
    warmup_steps: int = key()
    constant_steps: int = key()
    min_lr: float = key()


@dataclass
class Optimizer:
    """model.optim."""

    name: str = key(one_of("mcore_distributed_optim"))
    lr: float = key(positive)
    weight_decay: float = key()
    betas: list[float] = key()
    sched: Schedule = field(default_factory=Schedule)


@dataclass
class LoraTuning:
    """model.peft.lora_tuning: the adapters, as NeMo names them."""

    adapter_dim: int = key()  # rank
    alpha: float = key(positive)  # an adapter's output is multiplied by alpha / adapter_dim
    adapter_dropout: float = key(probability)
    target_modules: list[str] = key(some_of(*ADAPTED))  # layers that get an adapter


@dataclass
class Peft:
    """model.peft: what is trained."""

    peft_scheme: str = key()  # none: every parameter; lora: adapters, and the reward head where there is one
    lora_tuning: LoraTuning | None = MISSING  # null with none


@dataclass
class Model:
    """model: what NeMo builds. Sizes that are null are the checkpoint's; given ones must agree with it, and tell
    `hs2pref plan` what to count before there is one."""

    seed: int = key()
    micro_batch_size: int = key(positive, may_change=FREE)  # items a forward pass
    global_batch_size: int = key(positive)  # items an optimizer step
    tensor_model_parallel_size: int = key(positive, may_change=FREE)
    pipeline_model_parallel_size: int = key(positive, may_change=FREE)
    sequence_parallel: bool = key(may_change=FREE)
    megatron_amp_O2: bool = key(may_change=FREE)  # 16-bit parameters with float32 main copies; trainer.precision's
    encoder_seq_length: int = key(positive)  # tokens; longer rows stop the run before it starts
    activations_checkpoint_granularity: str | None = key(one_of(None, "selective", "full"), may_change=FREE)
    activations_checkpoint_method: str | None = key(may_change=FREE)  # uniform or block, with granularity full
    activations_checkpoint_num_layers: int | None = key(may_change=FREE)
    num_layers: int | None = key(may_change=FREE)
    hidden_size: int | None = key(may_change=FREE)
    ffn_hidden_size: int | None = key(may_change=FREE)  # of gate and of up, each
    num_attention_heads: int | None = key(may_change=FREE)
    num_query_groups: int | None = key(may_change=FREE)
    qkv_bias: bool | None = key(may_change=FREE, before=None)  # biases on queries, keys and values, as Qwen2 has
    override_vocab_size: int | None = key(may_change=FREE)  # rows of the embedding, padding included; may differ
    optim: Optimizer = field(default_factory=Optimizer)
    peft: Peft = field(default_factory=Peft)


@dataclass
class Data:
    """data: prepared rows (`hs2pref data prepare`)."""

    dir: str = key()  # folder of the files below
    train: str = key()  # file in dir
    validation: dict[str, str] = key(
        is_open=True
    )  # name of a set -> file in dir; each is measured as val_<name>_<metric>
    template: str = key(one_of(*TEMPLATES))  # how messages become text
    shuffle: bool = key()  # a new order every epoch, from model.seed
    packed_sequence: bool = key(may_change=FREE)  # rows of a micro batch one after the other instead of padded


@dataclass
class RunConfig:
    """What launch, preflight, checkpoints and logs read of any run."""

    trainer: Trainer = field(default_factory=Trainer)
    exp_manager: ExpManager = field(default_factory=ExpManager)
    pretrained_checkpoint: PretrainedCheckpoint = field(default_factory=PretrainedCheckpoint)
    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)

    @property
    def loop(self) -> Loop:
        """trainer.<recipe>."""
        raise NotImplementedError

    @property
    def unit(self) -> str:
        """What an item of a batch is, in the plural."""
        raise NotImplementedError

    @property
    def footprint(self) -> Footprint:
        """What a rank holds besides the transformer, and the rows of an item."""
        raise NotImplementedError

    @property
    def may_be_absent(self) -> Mapping[str, str]:
        """Sets of data.validation that a source need not have -> why."""
        return {}

    @property
    def continues_head(self) -> bool:
        """It starts from the reward head of its checkpoint, which knows one template."""
        return False

    @property
    def description(self) -> str:
        """What stands in a line of `submit` besides steps, rate and layout; empty: nothing."""
        return ""
