"""A reward-model run: what is ours stands under head, loss and data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nemo_hs2pref.config.footprint import Footprint
from nemo_hs2pref.config.schema.common import Data, Loop, RunConfig, Trainer
from nemo_hs2pref.config.schema.fields import key, one_of

COMBINED = "combined"  # loss.name of a weighted sum of terms
OF_RATINGS = "regression"  # the one term that rated responses are enough for
SETS = ("ratings", "pairs")  # that `hs2pref data prepare` writes; a source may have one of them


@dataclass
class RewardModelTrainer(Trainer):
    """trainer."""

    rm: Loop = field(default_factory=Loop)


@dataclass
class Head:
    """head: the reward head."""

    attributes: list[str] = key()  # [K] names of the output slots
    bias: bool = key()
    load_rm_head_weights: bool = key()  # start from the checkpoint's head; false: fresh from the seed
    reward_weights: list[float] = key()  # [K]: reward = attributes @ reward_weights


@dataclass
class Loss:
    """loss: what is minimised."""

    name: str = key()  # of a term that is trained alone, or combined
    reads: str = key()  # ratings or pairs: what the training file holds
    weights: dict[str, float] = key(before=0.0)  # loss = sum of weight x mean of the term over its items of the batch


@dataclass
class RewardModelData(Data):
    """data."""

    attributes: list[str] = key()  # rated attributes that regression learns; the others are masked
    ties: str = key(one_of("drop", "stop"))  # pairs of strength 0 or with equal sides; drop counts and logs them


@dataclass
class RewardModelConfig(RunConfig):
    """One reward-model run."""

    trainer: RewardModelTrainer = field(default_factory=RewardModelTrainer)  # pyright: ignore[reportIncompatibleVariableOverride]
    head: Head = field(default_factory=Head)
    loss: Loss = field(default_factory=Loss)
    data: RewardModelData = field(default_factory=RewardModelData)  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def loop(self) -> Loop:
        return self.trainer.rm

    @property
    def unit(self) -> str:
        return "pairs" if self.loss.reads == "pairs" else "responses"

    @property
    def footprint(self) -> Footprint:
        slots = len(self.head.attributes)
        biases = (("head.bias", slots),) if self.head.bias else ()
        rows = 2 if self.loss.reads == "pairs" else 1
        return Footprint(rows, (("head.weight", slots),), biases, reads_last_tokens=True)

    @property
    def may_be_absent(self) -> Mapping[str, str]:
        return {name: "the loss does not read it" for name in SETS if name != self.loss.reads}

    @property
    def continues_head(self) -> bool:
        return self.head.load_rm_head_weights

    @property
    def description(self) -> str:
        return "head of the start" if self.head.load_rm_head_weights else "fresh head"
