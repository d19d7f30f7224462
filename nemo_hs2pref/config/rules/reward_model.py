"""Rules of reward models."""

from collections.abc import Iterator

from nemo_hs2pref.config.rules.checking import Checkpoint, Rule
from nemo_hs2pref.config.schema.reward_model import COMBINED, OF_RATINGS, RewardModelConfig


def head(config: RewardModelConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """Slots, weights, rated attributes and the checkpoint's head fit each other."""
    names, weights = config.head.attributes, config.head.reward_weights
    if len(set(names)) != len(names) or not names:
        yield f"head.attributes={names}: expected different names, at least one"
    if len(weights) != len(names):
        yield f"head.reward_weights has {len(weights)} numbers, head.attributes has {len(names)}; one weight a slot"
    elif not any(weights):
        yield "head.reward_weights are all 0: every reward would be 0"
    unknown = [name for name in config.data.attributes if name not in names]
    if unknown or not config.data.attributes:
        yield f"data.attributes={config.data.attributes}: expected a selection of head.attributes {names}"
    stored = checkpoint.get("head")
    if config.head.load_rm_head_weights and checkpoint and stored is None:
        yield (
            f"head.load_rm_head_weights=true, but {config.pretrained_checkpoint.restore_from_path} has no reward head; "
            "set it to false or start from a reward model"
        )
    if config.head.load_rm_head_weights and stored is not None and list(stored["attributes"]) != list(names):
        yield f"head.attributes={names}, but the checkpoint's head has {list(stored['attributes'])}"
    if config.head.load_rm_head_weights and stored is not None and stored["bias"] != config.head.bias:
        has, value = ("a", "true") if stored["bias"] else ("no", "false")
        yield f"head.bias={str(config.head.bias).lower()}, but the checkpoint's head has {has} bias; set it to {value}"


def loss(config: RewardModelConfig, checkpoint: Checkpoint) -> Iterator[str]:
    """A named loss is that term alone; `combined` is a sum of several."""
    weights = config.loss.weights
    name, trained = config.loss.name, [term for term, weight in weights.items() if weight]
    if name not in (*weights, COMBINED):
        yield f"loss.name={name}: expected one of {', '.join((*weights, COMBINED))}"
    if any(weight < 0 for weight in weights.values()):
        yield f"loss.weights={weights}: expected weights of 0 or more"
    if name in weights and trained != [name]:
        yield (
            f"loss={name} trains {name} alone, but loss.weights also name {' + '.join(trained) or 'nothing'}; "
            "choose loss=combined for a weighted sum"
        )
    if name == COMBINED and len(trained) < 2:
        yield f"loss={COMBINED} needs weights above 0 for two terms or more, got {weights}"
    wanted = ("ratings", "pairs") if trained == [OF_RATINGS] else ("pairs",)
    if config.loss.reads not in wanted:
        yield f"loss.reads={config.loss.reads}: loss {name} expects {' or '.join(wanted)}"


RULES: tuple[Rule[RewardModelConfig], ...] = (head, loss)
