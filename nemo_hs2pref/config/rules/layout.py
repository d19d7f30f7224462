"""Rules of the layout: what tensor and pipeline parallelism, the batch and the model's sizes ask of each other."""

from collections.abc import Callable, Iterator

from nemo_hs2pref.config.architecture import SIZES, size_of
from nemo_hs2pref.config.rules.checking import Checkpoint, Rule
from nemo_hs2pref.config.schema.common import RunConfig

# More than there is anywhere, and few enough to look through all layouts.
MOST = {"trainer.num_nodes": 10_000, "trainer.devices": 128, "model.micro_batch_size": 1024}


def too_many(config: RunConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """A slip, as a digit too many."""
    given = (config.trainer.num_nodes, config.trainer.devices, config.model.micro_batch_size)
    for (key, most), value in zip(MOST.items(), given, strict=True):
        if value > most:
            yield f"{key}={value}: expected at most {most}"


def data_parallel_size(config: RunConfig) -> int:
    """Replicas of the model; 0 where tensor x pipeline does not fit into the world, or is not positive."""
    model = config.model
    world = config.trainer.num_nodes * config.trainer.devices
    size = model.tensor_model_parallel_size * model.pipeline_model_parallel_size
    return world // size if size > 0 else 0


def layout(config: RunConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """World size = tensor x pipeline x data parallel."""
    tensor, pipeline = config.model.tensor_model_parallel_size, config.model.pipeline_model_parallel_size
    nodes, devices = config.trainer.num_nodes, config.trainer.devices
    if tensor * pipeline > 0 and nodes * devices % (tensor * pipeline):
        yield (
            f"parallel: tensor {tensor} x pipeline {pipeline} = {tensor * pipeline} does not divide "
            f"{nodes} nodes x {devices} devices = {nodes * devices}"
        )
    if config.model.sequence_parallel and tensor == 1:
        yield "model.sequence_parallel=true needs model.tensor_model_parallel_size of 2 or more; set it to false"


def batch(config: RunConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """The global batch is made of whole micro batches on every data-parallel rank."""
    data = data_parallel_size(config)
    micro, total = config.model.micro_batch_size, config.model.global_batch_size
    if data > 0 and micro > 0 and total % (micro * data):
        nearest = max(total // (micro * data), 1) * micro * data
        yield (
            f"model.global_batch_size={total} is not a multiple of micro_batch_size {micro} x data parallel {data} "
            f"= {micro * data}; try {nearest}"
        )


def architecture(config: RunConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """Given sizes agree with the checkpoint, and the layout divides them.

    The vocabulary need not agree: tokens may have been added to the model that the group names.
    """
    model = config.model
    for key in (*SIZES, "qkv_bias"):
        given, stored = getattr(model, key), checkpoint.get(key, False if checkpoint and key == "qkv_bias" else None)
        if given is not None and stored is not None and given != stored:
            yield (
                f"model.{key}={given}, but the checkpoint {config.pretrained_checkpoint.restore_from_path} has "
                f"{stored}; choose the model group that fits it"
            )
    yield from undivided(
        lambda key: size_of(config, checkpoint, key),
        model.tensor_model_parallel_size,
        model.pipeline_model_parallel_size,
    )


def undivided(size: Callable[[str], int | None], tensor: int, pipeline: int) -> Iterator[str]:
    """Sizes of a model, None where unknown, that a layout does not divide."""
    for key, divisor, name in (
        ("num_attention_heads", tensor, "tensor_model_parallel_size"),
        ("num_query_groups", tensor, "tensor_model_parallel_size"),
        ("ffn_hidden_size", tensor, "tensor_model_parallel_size"),
        ("override_vocab_size", tensor, "tensor_model_parallel_size"),
        ("num_layers", pipeline, "pipeline_model_parallel_size"),
    ):
        whole = size(key)
        if whole and divisor > 0 and whole % divisor:
            possible = ", ".join(str(n) for n in range(1, min(whole, 64) + 1) if whole % n == 0)
            yield f"model.{name}={divisor} does not divide {key} {whole}; possible: {possible}"


def sequence(config: RunConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """Sequence parallelism cuts a row into equal parts; batches are rounded up for it, up to the longest row."""
    model, tensor = config.model, config.model.tensor_model_parallel_size
    if model.sequence_parallel and tensor > 1 and model.encoder_seq_length % tensor:
        yield (
            f"model.encoder_seq_length={model.encoder_seq_length} is not a multiple of tensor_model_parallel_size "
            f"{tensor}, which sequence_parallel needs; try {-(-model.encoder_seq_length // tensor) * tensor}"
        )


LAYOUT_RULES: tuple[Rule[RunConfig], ...] = (layout, batch, architecture, sequence)
