"""Names, types and units of every key of a reward-model run. Values and their sources stand in conf/.

Keys that users of NeMo-Aligner know keep their names and places; what is ours stands under head, loss and data.
"""

from dataclasses import dataclass, field

from omegaconf import MISSING


@dataclass
class RewardModelLoop:
    """trainer.rm: the training loop, as in Aligner."""

    max_epochs: int = MISSING  # passes over the training items
    max_steps: int = MISSING  # optimizer steps at most; -1: max_epochs alone decides
    val_check_interval: int = MISSING  # steps between validations; 0: only at the end
    save_interval: int = MISSING  # steps between resume states; 0: only at the end
    limit_val_batches: int = MISSING  # global batches of a validation; -1: all
    gradient_clip_val: float = MISSING  # largest gradient norm; 0: no clipping


@dataclass
class Trainer:
    """trainer: machine and loop."""

    num_nodes: int = MISSING
    devices: int = MISSING  # processes on a node, one a GPU
    precision: str = MISSING  # bf16 or 32
    rm: RewardModelLoop = field(default_factory=RewardModelLoop)


@dataclass
class CheckpointParams:
    """exp_manager.checkpoint_callback_params: which weights are kept besides the resume state."""

    monitor: str = MISSING  # val_<set>_<metric>: val_pairs_loss, val_pairs_accuracy, val_ratings_mse_helpfulness ...
    mode: str = MISSING  # min or max
    save_top_k: int = MISSING  # best weights kept; 0: none


@dataclass
class EarlyStoppingParams:
    """exp_manager.early_stopping_callback_params: when a run ends before its last step."""

    monitor: str = MISSING  # val_<set>_<metric>
    mode: str = MISSING  # min or max
    patience: int = MISSING  # validations in a row that are no better
    min_delta: float = MISSING  # what counts as better, in units of the metric


@dataclass
class WandbParams:
    """exp_manager.wandb_logger_kwargs: where Weights & Biases files the run."""

    project: str = MISSING
    name: str | None = MISSING  # null: the run folder's name


@dataclass
class ExpManager:
    """exp_manager: where a run writes."""

    explicit_log_dir: str = MISSING  # the run's folder
    resume_if_exists: bool = MISSING  # continue from the run folder's resume state where there is one
    max_time_per_run: str | None = MISSING  # a start saves and stops within it; config/durations.py has the forms
    save_margin_s: float = MISSING  # seconds kept free for saving before the limit and the job's end; at least 0
    create_tensorboard_logger: bool = MISSING
    create_wandb_logger: bool = MISSING
    wandb_logger_kwargs: WandbParams = field(default_factory=WandbParams)
    checkpoint_callback_params: CheckpointParams = field(default_factory=CheckpointParams)
    create_early_stopping_callback: bool = MISSING
    early_stopping_callback_params: EarlyStoppingParams = field(default_factory=EarlyStoppingParams)


@dataclass
class PretrainedCheckpoint:
    restore_from_path: str = MISSING  # checkpoint folder to start from


@dataclass
class Schedule:
    """model.optim.sched: NeMo's CosineAnnealing; constant after warm-up when min_lr equals lr."""

    name: str = MISSING
    warmup_steps: int = MISSING
    constant_steps: int = MISSING
    min_lr: float = MISSING


@dataclass
class Optimizer:
    """model.optim."""

    name: str = MISSING
    lr: float = MISSING
    weight_decay: float = MISSING
    betas: list[float] = MISSING
    sched: Schedule = field(default_factory=Schedule)


@dataclass
class LoraTuning:
    """model.peft.lora_tuning: the adapters, as NeMo names them."""

    adapter_dim: int = MISSING  # rank
    alpha: float = MISSING  # an adapter's output is multiplied by alpha / adapter_dim
    adapter_dropout: float = MISSING  # probability
    target_modules: list[str] = MISSING  # layers that get an adapter


@dataclass
class Peft:
    """model.peft: what is trained."""

    peft_scheme: str = MISSING  # none: every parameter; lora: adapters and the reward head
    lora_tuning: LoraTuning | None = MISSING  # null with none


@dataclass
class Model:
    """model: what NeMo builds. Sizes that are null are the checkpoint's; given ones must agree with it, and tell
    `hs2pref plan` what to count before there is one."""

    seed: int = MISSING
    micro_batch_size: int = MISSING  # items (responses or pairs) a forward pass
    global_batch_size: int = MISSING  # items an optimizer step
    tensor_model_parallel_size: int = MISSING
    pipeline_model_parallel_size: int = MISSING
    sequence_parallel: bool = MISSING
    megatron_amp_O2: bool = MISSING  # 16-bit parameters with float32 main copies in the optimizer
    encoder_seq_length: int = MISSING  # tokens; longer rows stop the run before it starts
    activations_checkpoint_granularity: str | None = MISSING  # null, selective or full
    activations_checkpoint_method: str | None = MISSING  # uniform or block, with granularity full
    activations_checkpoint_num_layers: int | None = MISSING
    num_layers: int | None = MISSING
    hidden_size: int | None = MISSING
    ffn_hidden_size: int | None = MISSING  # of gate and of up, each
    num_attention_heads: int | None = MISSING
    num_query_groups: int | None = MISSING
    override_vocab_size: int | None = MISSING  # rows of the embedding, padding included; a checkpoint's may differ
    optim: Optimizer = field(default_factory=Optimizer)
    peft: Peft = field(default_factory=Peft)


@dataclass
class Head:
    """head: the reward head."""

    attributes: list[str] = MISSING  # [K] names of the output slots
    bias: bool = MISSING
    load_rm_head_weights: bool = MISSING  # start from the checkpoint's head; false: fresh from the seed
    reward_weights: list[float] = MISSING  # [K]: reward = attributes @ reward_weights


@dataclass
class LossWeights:
    """loss.weights: loss = sum of weight x mean of the term over its items of the global batch."""

    regression: float = MISSING  # over rated cells
    regular_bt: float = MISSING  # over pairs
    margin_bt: float = MISSING  # over pairs
    scaled_bt: float = MISSING  # over pairs


@dataclass
class Loss:
    """loss: what is minimised."""

    name: str = MISSING  # regression, regular_bt, margin_bt, scaled_bt, or combined
    reads: str = MISSING  # ratings or pairs: what the training file holds
    weights: LossWeights = field(default_factory=LossWeights)


@dataclass
class Data:
    """data: prepared rows (`hs2pref data prepare`)."""

    dir: str = MISSING  # folder with ratings.*.jsonl and pairs.*.jsonl
    train: str = MISSING  # file in dir
    validation: dict[str, str] = MISSING  # name of a set -> file in dir; each is measured as val_<name>_<metric>
    attributes: list[str] = MISSING  # rated attributes that regression learns; the others are masked
    ties: str = MISSING  # pairs of strength 0 or with equal sides: drop (counted and logged) or stop
    template: str = MISSING  # how messages become text: extra_id, llama3 or tokenizer
    shuffle: bool = MISSING  # a new order every epoch, from model.seed
    packed_sequence: bool = MISSING  # rows of a micro batch one after the other instead of padded


@dataclass
class RewardModelConfig:
    """One reward-model run."""

    trainer: Trainer = field(default_factory=Trainer)
    exp_manager: ExpManager = field(default_factory=ExpManager)
    pretrained_checkpoint: PretrainedCheckpoint = field(default_factory=PretrainedCheckpoint)
    model: Model = field(default_factory=Model)
    head: Head = field(default_factory=Head)
    loss: Loss = field(default_factory=Loss)
    data: Data = field(default_factory=Data)
