"""The tensors of a folder against what its configuration asks for: names and shapes, no numbers."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nemo_hs2pref.checkpoint.families.architecture import LM_HEAD
from nemo_hs2pref.checkpoint.hugging_face.head import SCORE
from nemo_hs2pref.checkpoint.safetensors.folder import WeightFiles
from nemo_hs2pref.checkpoint.safetensors.header import read_header
from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.files import refuse_unreadable

Shapes = Mapping[str, tuple[int, ...]]
# Rotary frequencies that old versions of transformers saved, and an output layer that is tied or not asked for.
UNUSED = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq|" + re.escape(LM_HEAD))
# How other projects call the layer that makes a reward: TRL's and LLaMA-Factory's value heads, OpenRLHF, safe-rlhf,
# UltraRM, ArmoRM, INF-ORM.
OTHER_HEADS = re.compile(r"(^|\.)(v_head|value_head|score_head|rm_head|reward_head|reward_model|regression_\w+|gating"
                         r"|classifier|reward|critic_head|score\.(?!weight$).*)(\.|$)")  # fmt: skip
HEAD_FILES = ("value_head.safetensors", "value_head.bin")  # LLaMA-Factory's, beside the model


def tensor_files(files: WeightFiles) -> dict[str, tuple[Path, tuple[int, ...]]]:
    """Tensor -> its file and shape; raises CheckpointError for a broken file, and for one that lacks a tensor."""
    found: dict[str, tuple[Path, tuple[int, ...]]] = {}
    for file, names in files.items():
        shapes = shapes_in(file)
        if names is not None and (lacking := sorted(set(names) - shapes.keys())):
            raise CheckpointError(f"{file}: lacks {lacking[0]}, which the index places there; download both again")
        found |= {name: (file, shapes[name]) for name in names or shapes}
    return found


def shapes_in(file: Path) -> dict[str, tuple[int, ...]]:
    if file.suffix == ".safetensors":
        return {name: span.shape for name, span in read_header(file).items()}
    return {name: tuple(tensor.shape) for name, tensor in load_bin(file).items()}


def load_bin(file: Path) -> dict[str, Any]:
    """The tensors of torch's own format, mapped; nothing in the file is run."""
    refuse_unreadable(file, CheckpointError)
    try:
        stored: Any = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
        return {name: tensor for name, tensor in stored.items() if isinstance(tensor, torch.Tensor)}
    except Exception as error:  # zipfile, pickle and torch each raise their own
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{file}: cannot be read ({reason}); copy or download it again") from error


def refuse_other_head(folder: Path, names: Mapping[str, object]) -> None:
    """A head that no class of transformers has would be dropped, and another one made up."""
    found = next((name for name in names if OTHER_HEADS.search(name)), None)
    if found is None:
        found = next((name for name in HEAD_FILES if (folder / name).exists()), None)
    if found is not None:
        raise CheckpointError(
            f"{folder}: its head is {found}, as another project names it; a reward is read from {SCORE} "
            "[labels, hidden size] of a ...ForSequenceClassification: save the model as one"
        )


def refuse_other_tensors(folder: Path, found: Shapes, expected: Shapes) -> None:
    """Of a Llama: tensors that are missing, have another shape, or change what it computes."""
    extra = [name for name in found if name not in expected and not UNUSED.fullmatch(name)]
    if missing := [name for name in expected if name not in found]:
        instead = f" (there is {extra[0]} instead)" if extra else ""
        raise CheckpointError(
            f"{folder}: tensor {missing[0]} is missing{instead}, one of {len(missing)} that config.json asks for; "
            "copy or download it again"
        )
    for name, shape in expected.items():
        if found[name] != shape:
            raise CheckpointError(
                f"{folder}: tensor {name} is {list(found[name])}, config.json asks for {list(shape)}; "
                "one of them belongs to another model"
            )
    if extra:
        raise CheckpointError(
            f"{folder}: tensor {extra[0]} is not one that its config.json asks for, and would be left out; "
            "expected the weights of a Llama without biases and nothing else"
        )
