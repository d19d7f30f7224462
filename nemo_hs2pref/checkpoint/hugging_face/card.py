"""README.md of an exported model: what it is, how it is used, and what it was trained on, as far as that is known."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PretrainedConfig

from nemo_hs2pref import __version__
from nemo_hs2pref.checkpoint.hugging_face.layouts import CAUSAL_LM, CLASSIFICATION
from nemo_hs2pref.checkpoint.layout import STANDARDIZATION
from nemo_hs2pref.checkpoint.reward_head import Head
from nemo_hs2pref.data.preparation.output import MANIFEST as DATA_MANIFEST
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.files import read_json
from nemo_hs2pref.yaml_files import dumped

USE = {
    CLASSIFICATION: """\
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = "{name}"
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder, torch_dtype="auto")
batch = tokenizer.apply_chat_template(
    conversations, padding=True, return_dict=True, return_tensors="pt"
)  # each a list of {"role", "content"} that ends with the response, of {max_length} tokens at most
with torch.no_grad():
    {reward}
""",
    "nemotron-reward": """\
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "{name}"
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype="auto")
batch = tokenizer.apply_chat_template(
    conversations, padding=True, return_dict=True, return_tensors="pt"
)  # each a list of {"role", "content"} that ends with the response, of {max_length} tokens at most
generated = model.generate(**batch, max_new_tokens=1, return_dict_in_generate=True, output_scores=True)
reward = generated.scores[0][:, 0]
""",
}
ONE_LABEL = "reward = model(**batch).logits[:, 0].float()"
LABELS = """\
attributes = model(**batch).logits.float()  # in the order of model.config.id2label
reward = attributes @ torch.tensor(model.config.hs2pref["reward_weights"])"""


@dataclass(frozen=True)
class Card:
    """What a card tells. manifest: hs2pref.json of the checkpoint."""

    name: str
    layout: str
    config: PretrainedConfig
    head: Head | None
    dropped_bias: Tensor | None
    manifest: Mapping[str, Any]


def write_card(folder: Path, card: Card) -> None:
    sections = [front_matter(card), f"# {card.name}\n", *what(card), *use(card), *training(card)]
    (folder / "README.md").write_text("\n".join(sections))


def front_matter(card: Card) -> str:
    keys: dict[str, Any] = {"library_name": "transformers", "tags": ["nemo_hs2pref"]}
    if card.head is not None:
        keys["tags"].append("reward-model")
    keys["pipeline_tag"] = "text-classification" if card.layout == CLASSIFICATION else "text-generation"
    return f"---\n{dumped(keys)}---\n"


def what(card: Card) -> Iterator[str]:
    kind = (
        "A language model" if card.head is None else "A reward model: a conversation to the worth of its last response"
    )
    size = f"{card.config.num_hidden_layers} layers, hidden size {card.config.hidden_size}"
    yield f"{kind}. Llama architecture, {size}, layout {card.layout}. Written by nemo_hs2pref {__version__}.\n"


def use(card: Card) -> Iterator[str]:
    if card.layout == CAUSAL_LM or card.head is None:
        return
    code = USE[card.layout].replace("{name}", card.name).replace("{max_length}", str(card.config.model_max_length))
    code = code.replace("{reward}", ONE_LABEL if len(card.head.attributes) == 1 else LABELS)
    yield f"## Use\n\n```python\n{code}```\n"
    yield f"reward = {formula(card.head)}\n"
    yield (
        f"Text: the template `{card.head.template}` of training, as the tokenizer's chat template; no token is added "
        "to it. Rewards compare responses to one prompt; offset and scale mean nothing by themselves.\n"
    )
    yield from offset(card, card.head)
    if not card.head.weight.to(card.config.torch_dtype).float().equal(card.head.weight):
        yield f"The head was trained in float32 and is rounded to {card.config.torch_dtype} here.\n"
    if figures := card.head.standardization:
        yield (
            f"Over {figures['rows']} responses of {figures['input']['name']} the reward has mean "
            f"{figures['reward']['mean']:g} and standard deviation {figures['reward']['std']:g}; those of the "
            f'attributes stand in config.json, "hs2pref": "{STANDARDIZATION}".\n'
        )


def formula(head: Head) -> str:
    """0.5 helpfulness - 0.25 verbosity"""
    named = [pair for pair in zip(head.reward_weights, head.attributes, strict=True) if pair[0]]
    factors = [(f"{abs(weight):g} " if abs(weight) != 1 else "") + name for weight, name in named]
    signs = ["-" if weight < 0 else "+" for weight, _ in named]
    return " ".join(f"{sign} {factor}" for sign, factor in zip(signs, factors, strict=True)).removeprefix("+ ")


def offset(card: Card, head: Head) -> Iterator[str]:
    """What a dropped bias took from the rewards."""
    if card.dropped_bias is None:
        return
    bias = card.dropped_bias.tolist()
    missing = sum(weight * value for weight, value in zip(head.reward_weights, bias, strict=True))
    each = ", ".join(f"{name} {value:g}" for name, value in zip(head.attributes, bias, strict=True))
    yield (
        f"The head was trained with a bias, which this layout cannot hold: add {missing:g} to the reward, and to the "
        f"attributes {each}. Figures of mean and standard deviation are with it.\n"
    )


def training(card: Card) -> Iterator[str]:
    """The checkpoint's manifest: metrics first, then where it comes from, then the whole configuration."""
    manifest = {key: value for key, value in card.manifest.items() if key != STANDARDIZATION}
    run = manifest.pop("run", None)
    metrics = manifest.pop("metrics", None)
    if metrics:
        rows = "".join(f"| {name} | {value:.6g} |\n" for name, value in metrics.items())
        yield f"## Metrics, as validated in training\n\n| metric | value |\n|---|---|\n{rows}"
    if manifest:
        yield f"## Origin\n\n```yaml\n{dumped(manifest)}```\n"
    if run:
        yield f"## Training configuration\n\n```yaml\n{dumped(run)}```\n"
        yield from data(Path(run.get("data", {}).get("dir", "")))


def data(folder: Path) -> Iterator[str]:
    """The manifest of the prepared data, where it is still on this machine."""
    file = folder / DATA_MANIFEST
    if file.is_file():
        yield f"## Training data\n\n```json\n{json.dumps(read_json(file, DataError), indent=2)}\n```\n"
