"""A run in one line, from its configuration."""

from nemo_hs2pref.config.schema.common import RunConfig


def one_line(config: RunConfig) -> str:
    """`105 steps of 64 pairs (1 epoch), LR 1e-06, head of the start, 4 nodes x 8, TP 8 x PP 4`"""
    trainer, model = config.trainer, config.model
    parts = [
        length(config),
        f"LR {model.optim.lr:g}",
        *([config.description] if config.description else []),
        f"{trainer.num_nodes} {'node' if trainer.num_nodes == 1 else 'nodes'} x {trainer.devices}",
        f"TP {model.tensor_model_parallel_size} x PP {model.pipeline_model_parallel_size}",
    ]
    return ", ".join(parts)


def length(config: RunConfig) -> str:
    """Steps, items of a step, and epochs; without a limit of steps the epochs alone."""
    loop = config.loop
    epochs = f"{loop.max_epochs} {'epoch' if loop.max_epochs == 1 else 'epochs'}"
    items = f"of {config.model.global_batch_size} {config.unit}"
    return f"{epochs} {items}" if loop.max_steps < 0 else f"{loop.max_steps} steps {items} ({epochs})"
