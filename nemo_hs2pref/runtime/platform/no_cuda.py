"""Layer 2: a machine without CUDA.

NeMo and Megatron-Core call torch.cuda unconditionally: to move tensors, to ask for the device, to seed, to
synchronise. Here those calls answer for the CPU. Each function below is one patch; its docstring is the reason.
"""

from collections.abc import Callable
from typing import Any

import torch

CPU = torch.device("cpu")


def before_nemo() -> None:
    """What must stand before NeMo and Megatron-Core are imported, for they copy some of these functions."""
    move_nowhere()
    answer_device_questions()
    read_cuda_as_cpu_in_factories()
    name_cpu_tensor_types()
    keep_one_random_state()


def after_nemo() -> None:
    """What is changed in NeMo and Megatron-Core once they are imported."""
    keep_one_random_state_in_megatron()
    keep_nemo_models_where_they_are()


def move_nowhere() -> None:
    """`.cuda()` is called on every batch, module and buffer."""
    torch.Tensor.cuda = lambda self, *args, **kwargs: self  # pyright: ignore
    torch.nn.Module.cuda = lambda self, *args, **kwargs: self  # pyright: ignore


class NullStream:
    """A stream or event on a machine where everything happens in order."""

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def __enter__(self) -> "NullStream":
        return self

    def __exit__(self, *args: object) -> None: ...

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name in ("wait_stream", "wait_event", "synchronize", "record", "wait", "record_event"):
            return lambda *args, **kwargs: None
        raise AttributeError(name)


class CpuProperties:
    """What torch.cuda.get_device_properties tells; major 0 makes upstream skip architecture-specific paths."""

    major, minor, name = 0, 0, "cpu"


def answer_device_questions() -> None:
    """Device index, synchronisation, memory figures and streams are asked for without a guard.

    device_count must be 1, or NeMo does not seed Megatron-Core's random state tracker.
    """
    answers: dict[str, Any] = {
        "current_device": lambda: CPU,
        "device_count": lambda: 1,
        "get_device_properties": lambda *args: CpuProperties(),
        "get_device_capability": lambda *args: (0, 0),
        "Stream": NullStream,
        "Event": NullStream,
        "stream": NullStream,
        "current_stream": NullStream,
        "default_stream": NullStream,
    }
    for name in ("set_device", "synchronize", "empty_cache"):
        answers[name] = always(None)
    for name in ("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved"):
        answers[name] = always(0)
    for name, answer in answers.items():
        setattr(torch.cuda, name, answer)


def always(value: Any) -> Callable[..., Any]:
    """A new function each time: torch._dynamo refuses one object under two names."""
    return lambda *args, **kwargs: value


def read_cuda_as_cpu_in_factories() -> None:
    """Upstream creates small tensors with device="cuda" written out."""

    def on_cpu(factory: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def create(*args: Any, **kwargs: Any) -> torch.Tensor:
            if "device" in kwargs and str(kwargs["device"]).startswith("cuda"):
                kwargs["device"] = CPU
            return factory(*args, **kwargs)

        return create

    for name in ("tensor", "zeros", "ones", "empty", "full", "arange", "rand", "randn"):
        setattr(torch, name, on_cpu(getattr(torch, name)))


def name_cpu_tensor_types() -> None:
    """Megatron-Core tells 16-bit from 32-bit parameters by the string "torch.cuda.FloatTensor" and the like."""
    for name in (
        "FloatTensor",
        "HalfTensor",
        "BFloat16Tensor",
        "DoubleTensor",
        "LongTensor",
        "IntTensor",
        "BoolTensor",
    ):
        setattr(torch.cuda, name, getattr(torch, name))
    original = torch.Tensor.type

    def tensor_type(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        answer = original(self, *args, **kwargs)
        return answer.replace("torch.", "torch.cuda.", 1) if isinstance(answer, str) else answer

    torch.Tensor.type = tensor_type  # pyright: ignore


def keep_one_random_state() -> None:
    """There is one generator, the CPU's; what upstream does to CUDA's is done to it."""
    torch.cuda.get_rng_state = lambda *args: torch.get_rng_state()  # pyright: ignore
    torch.cuda.set_rng_state = lambda state, *args: torch.set_rng_state(state)  # pyright: ignore
    torch.cuda.manual_seed = lambda seed: torch.manual_seed(seed)  # pyright: ignore
    torch.cuda.manual_seed_all = lambda seed: None
    torch.cuda.random.get_rng_state = torch.cuda.get_rng_state


def keep_one_random_state_in_megatron() -> None:
    """Megatron-Core's tracker reaches below torch.cuda's public functions."""
    from megatron.core.tensor_parallel import random

    random._get_cuda_rng_state = lambda *args, **kwargs: torch.get_rng_state()
    random._set_cuda_rng_state = lambda state, *args, **kwargs: torch.set_rng_state(state)


def keep_nemo_models_where_they_are() -> None:
    """ModelPT.cuda builds torch.device("cuda", index) itself."""
    from nemo.core.classes.modelPT import ModelPT

    ModelPT.cuda = lambda self, *args, **kwargs: self
