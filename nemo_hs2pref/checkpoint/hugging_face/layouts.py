"""The layouts in which Hugging Face's files can hold one of our models, by name.

    causal-lm                LlamaForCausalLM, Qwen2ForCausalLM
    sequence-classification  ...ForSequenceClassification: the head is `score.weight` [K, H], without bias; its labels
                             are the attributes
    nemotron-reward          ...ForCausalLM whose logit of token 0, after the conversation, is the reward, as
                             nvidia/Llama-3.1-Nemotron-70B-Reward-HF is published: row 0 of `lm_head.weight`

Of the last one NVIDIA's model card and discussion are read: row 0, and that the conversation ends without a generation
prompt. That its head holds helpfulness, and that its text is the tokenizer's own chat template, is inferred.
"""

from collections.abc import Sequence
from typing import Any

from nemo_hs2pref.checkpoint.families.table import family_of
from nemo_hs2pref.checkpoint.layout import HF_KEY
from nemo_hs2pref.errors import CheckpointError

CAUSAL_LM, CLASSIFICATION, NEMOTRON = "causal-lm", "sequence-classification", "nemotron-reward"
LAYOUTS = (CAUSAL_LM, CLASSIFICATION, NEMOTRON)
ENDS = {CAUSAL_LM: "ForCausalLM", CLASSIFICATION: "ForSequenceClassification", NEMOTRON: "ForCausalLM"}
KEY = HF_KEY
ALL, REWARD = "all", "reward"  # labels of a classifier: every attribute, or the reward as the only one


def architecture_of(config: Any, layout: str) -> str:
    """The name of transformers' class."""
    return family_of(config).prefix + ENDS[layout]


def layout_of_source(config: Any, asked: str | None, where: str) -> str:
    """The layout of a Hugging Face folder with the configuration `config`; `asked` where the user named one.

    A published Nemotron reward model looks like a language model, so only ours can be told from one.
    """
    known = {layout: architecture_of(config, layout) for layout in LAYOUTS}
    architecture = (config.architectures or [known[CAUSAL_LM]])[0]
    if architecture not in known.values():
        names = " and ".join(dict.fromkeys(known.values()))
        kind = family_of(config).prefix
        raise CheckpointError(f"{where}: architectures is {config.architectures}; of {kind}s only {names} are read")
    stored = getattr(config, KEY, {}).get("layout")
    if stored not in (None, *LAYOUTS):
        raise CheckpointError(f"{where}: layout is {stored!r}; expected one of {', '.join(LAYOUTS)}")
    layout = asked or stored or next(name for name, value in known.items() if value == architecture)
    if known[layout] != architecture:
        raise CheckpointError(f"{where}: --layout {layout} needs {known[layout]}, this is {architecture}")
    if layout == NEMOTRON and config.tie_word_embeddings:
        raise CheckpointError(f"{where}: tie_word_embeddings is true, so no row of lm_head can be a reward head")
    return layout


def holds_reward_alone(layout: str, reward_weights: Sequence[float], asked: str | None, where: str) -> bool:
    """Whether the reward is written as the only output; `asked`: ALL, REWARD, or None for the default.

    By default where it is one attribute: a client that takes one number takes the first, which is `quality` of
    Aligner's nine. A sum of several is merged only when asked: its attributes would be lost.
    """
    if layout != NEMOTRON:
        return asked == REWARD or (asked is None and sum(map(bool, reward_weights)) == 1)
    if asked == ALL:
        raise CheckpointError(f"{where}: --layout {NEMOTRON} holds the reward alone; leave --all-attributes out")
    return True


def layout_of_target(has_head: bool, asked: str | None, where: str) -> str:
    """The layout in which a checkpoint of ours is written; `asked` where the user named one."""
    layout = asked or (CLASSIFICATION if has_head else CAUSAL_LM)
    if has_head == (layout == CAUSAL_LM):
        got = "a reward head and no output layer" if has_head else "no reward head"
        fitting = f"{CLASSIFICATION} or {NEMOTRON}" if has_head else CAUSAL_LM
        raise CheckpointError(f"{where}: has {got}, which --layout {layout} cannot hold; choose {fitting}")
    return layout
