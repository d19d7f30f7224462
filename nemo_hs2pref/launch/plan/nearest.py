"""The nearest layout that works, where the one that is asked for cannot: a search over divisors."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from nemo_hs2pref.config.rules.checking import Checkpoint, listed
from nemo_hs2pref.config.rules.layout import LAYOUT_RULES, too_many
from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.launch.plan.memory import recomputing
from nemo_hs2pref.recipes.recipe import Recipe

Change = Mapping[str, Any]  # key of model -> other value
Accept = Callable[[RunConfig], bool]
RESULT = "global_batch_size"  # what changes the result of a run; the others do not


def refuse(recipe: Recipe[Any], config: RunConfig, checkpoint: Checkpoint) -> None:
    """`recipe.check`, which also names the nearest layout where that is at fault."""
    faults = recipe.faults_of(config, checkpoint)
    if faults:
        change = nearest_that_works(recipe, config, checkpoint)
        hint = f"\nnearest layout that works: {' '.join(overrides_of(change))}" if change else ""
        raise ConfigError(listed(faults) + hint)


def nearest_that_works(recipe: Recipe[Any], config: RunConfig, checkpoint: Checkpoint) -> Change | None:
    """None where another rule than the layout's is broken, or the layout is not at fault."""
    if any(too_many(config, checkpoint)) or not any(
        fault for rule in LAYOUT_RULES for fault in rule(config, checkpoint)
    ):
        return None
    plainest = next(changes(config, thrifty=False), None)  # one rank a model: it breaks none of the layout's rules
    if plainest is None or recipe.faults_of(changed(config, plainest), checkpoint):
        return None
    return nearest(recipe, config, checkpoint, lambda _: True)


def nearest(
    recipe: Recipe[Any], config: RunConfig, checkpoint: Checkpoint, accept: Accept, *, thrifty: bool = False
) -> Change | None:
    """The smallest change on the same GPUs that passes every rule and `accept`.

    Small is: no tensor group over two nodes, the result unchanged, few keys, then few doublings and halvings; of
    equals the one with more tensor parallelism, whose links are the fast ones.
    `thrifty` also tries what saves memory alone: sequence parallelism and full recomputation.
    """
    for change in sorted(changes(config, thrifty=thrifty), key=lambda change: size_of_change(config, change)):
        other = changed(config, change)
        if not recipe.faults_of(other, checkpoint) and accept(other):
            return change
    return None


def changes(config: RunConfig, *, thrifty: bool) -> Iterator[Change]:
    """Every layout of the same GPUs, with the batch and the length that it needs."""
    model, world = config.model, config.trainer.num_nodes * config.trainer.devices
    recomputations = [{}]
    if thrifty and model.activations_checkpoint_granularity != "full":
        recomputations.append(recomputing("full"))
    for tensor in divisors(world):
        cuts = {model.sequence_parallel, thrifty or model.sequence_parallel} if tensor > 1 else {False}
        for pipeline, micro, cut, recomputation in product(
            divisors(world // tensor), divisors(model.micro_batch_size), sorted(cuts), recomputations
        ):
            unit = micro * (world // (tensor * pipeline))
            multiple = tensor if cut else 1
            wanted = {
                "tensor_model_parallel_size": tensor,
                "pipeline_model_parallel_size": pipeline,
                "micro_batch_size": micro,
                "sequence_parallel": cut,
                "global_batch_size": max(round(model.global_batch_size / unit), 1) * unit,
                "encoder_seq_length": -(-model.encoder_seq_length // multiple) * multiple,
                **recomputation,
            }
            yield {key: value for key, value in wanted.items() if value != getattr(model, key)}


def divisors(number: int) -> list[int]:
    """Of a positive number; none of another."""
    small = [n for n in range(1, math.isqrt(max(number, 0)) + 1) if number % n == 0]
    return sorted({*small, *(number // n for n in small)})


def size_of_change(config: RunConfig, change: Change) -> tuple[bool, bool, int, float, int]:
    tensor = change.get("tensor_model_parallel_size", config.model.tensor_model_parallel_size)
    numbers = [(value, getattr(config.model, key)) for key, value in change.items() if type(value) is int]
    doublings = sum(abs(math.log2(new / old)) for new, old in numbers if old and old > 0)
    keys = {key.replace("_method", "_granularity").replace("_num_layers", "_granularity") for key in change}
    return config.trainer.devices % tensor != 0, RESULT in change, len(keys), doublings, -tensor


def changed(config: RunConfig, change: Change) -> RunConfig:
    return replace(config, model=replace(config.model, **change))


def overrides_of(change: Change) -> list[str]:
    """As the command line takes it."""
    return [f"model.{key}={as_yaml(value)}" for key, value in change.items()]


def as_yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
