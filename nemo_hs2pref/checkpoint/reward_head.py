"""A reward head outside of any model, and its home in a checkpoint of ours.

Shapes: K attributes, H hidden size. A head is small, so it is read whole and at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nemo_hs2pref.checkpoint.layout import STANDARDIZATION
from nemo_hs2pref.checkpoint.torch_dist.pieces import Piece, whole
from nemo_hs2pref.checkpoint.torch_dist.reading import StoredTensors
from nemo_hs2pref.errors import CheckpointError

HEAD = "model.rm_head."
HELPFULNESS = "helpfulness"  # the reward of the paper's models
WEIGHT, BIAS = HEAD + "weight", HEAD + "bias"


@dataclass(frozen=True)
class Head:
    """attributes_K = weight_KH @ hidden_H + bias_K; reward = reward_weights_K @ attributes_K. All float32."""

    attributes: Sequence[str]
    reward_weights: Sequence[float]
    template: str  # how messages became text
    weight: Tensor
    bias: Tensor | None = None
    standardization: Mapping[str, Any] | None = None  # mean and std of its rewards, where they were measured

    def section(self) -> dict[str, Any]:
        """model_config.yaml's `head`."""
        return {
            "attributes": list(self.attributes),
            "reward_weights": list(self.reward_weights),
            "bias": self.bias is not None,
            "template": self.template,
        }

    def pieces(self) -> Iterator[Piece]:
        """Its tensors in a checkpoint of ours."""
        yield whole(WEIGHT, torch.float32, tuple(self.weight.shape), lambda: self.weight)
        if (bias := self.bias) is not None:
            yield whole(BIAS, torch.float32, tuple(bias.shape), lambda: bias)

    def merged(self) -> "Head":
        """The same reward as the only output; its name stays where the reward is one attribute."""
        weights = torch.tensor(self.reward_weights, dtype=torch.float64)
        named = [name for name, weight in zip(self.attributes, self.reward_weights, strict=True) if weight]
        name = named[0] if len(named) == 1 and sum(self.reward_weights) == 1 else "reward"
        figures = self.standardization
        return replace(
            self,
            attributes=[name],
            reward_weights=[1.0],
            weight=(weights @ self.weight.double()).float()[None],
            bias=None if self.bias is None else (weights @ self.bias.double()).float()[None],
            standardization=figures and {**figures, "attributes": {name: figures["reward"]}},
        )


def usual_weights(attributes: Sequence[str]) -> list[float] | None:
    """How outputs make a reward where nothing says it: the only one, or helpfulness; None where it is not there."""
    if len(attributes) > 1 and HELPFULNESS not in attributes:
        return None
    return [float(name == HELPFULNESS or len(attributes) == 1) for name in attributes]


def stored_head(stored: StoredTensors, config: Mapping[str, Any], manifest: Mapping[str, Any]) -> Head | None:
    """The head of a checkpoint of ours, by its model_config.yaml and hs2pref.json; None where it has none."""
    section = config.get("head")
    if section is None:
        return None
    shape = len(section["attributes"]), config["hidden_size"]
    found = stored.entries.get(WEIGHT, ("nothing", None))[0]
    if found != shape:
        raise CheckpointError(f"{stored.folder}: tensor {WEIGHT} has shape {found}; model_config.yaml asks for {shape}")
    return Head(
        section["attributes"],
        section["reward_weights"],
        section["template"],
        stored.read(WEIGHT).float(),
        stored.read(BIAS).float() if section["bias"] else None,
        manifest.get(STANDARDIZATION),
    )
