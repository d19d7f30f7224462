"""What can be trained, as one value: all that a command, a planner or a job knows of it before NeMo is there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from omegaconf import DictConfig

from nemo_hs2pref.config.load import load_config, load_to_show
from nemo_hs2pref.config.resume import identity, refuse_other_run
from nemo_hs2pref.config.rules import checking, common
from nemo_hs2pref.config.rules.checking import Checkpoint, Rule
from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.run_lock import RunLock

Config = TypeVar("Config", bound=RunConfig)
MOVED: Mapping[str, str] = {  # keys of NeMo-Aligner's that mean something else here or have another place
    "model.data.data_prefix": "use data.dir",
    "model.data.seq_length": "use model.encoder_seq_length",
    "cluster": "it is for the cluster, which `hs2pref submit` asks; training does not read it",
    **{
        f"model.peft.lora_tuning.{name}": "it is a key of peft=lora, and this run has peft=none"
        for name in ("adapter_dim", "alpha", "adapter_dropout", "target_modules")
    },
}


class Training(Protocol):
    """The heavy side of a recipe, imported when a run starts."""

    def read_data(self, config: Any) -> Any:
        """Read and tokenise all rows, without NeMo: a bad row must not cost half a minute."""
        ...

    def train(
        self, config: Any, resolved: DictConfig, checkpoint: Checkpoint, data: Any, lock: RunLock, started: float
    ) -> int:
        """Start or resume the run; the exit code. `data` is what `read_data` gave."""
        ...


@dataclass(frozen=True, eq=False)
class Recipe(Generic[Config]):
    """One kind of run.

    Its schema says besides names and types what an item is, which sets of rows need not be there and what a rank holds
    (`unit`, `may_be_absent`, `footprint`); its heavy side has the reader of rows, the builder of the model, the
    objective and its metrics.
    """

    name: str  # `hs2pref train NAME`
    title: str  # in `--help`
    config_name: str  # of conf/
    schema: type[Config]
    rules: Sequence[Rule[Config]]  # besides those of every run
    training: Callable[[], Training]  # imports it
    moved: Mapping[str, str] = field(default_factory=dict[str, str])  # besides MOVED

    def load(self, overrides: Sequence[str] = (), config_name: str | None = None) -> tuple[Config, DictConfig]:
        """The typed configuration, and the same resolved; raises ConfigError (config/load.py)."""
        return load_config(config_name or self.config_name, overrides, self.schema, {**MOVED, **self.moved})

    def load_to_show(
        self, overrides: Sequence[str], config_name: str | None = None
    ) -> tuple[Config | None, str, list[str]]:
        """The configuration as far as it is given: typed, as YAML, and the keys that are missing."""
        return load_to_show(config_name or self.config_name, overrides, self.schema, {**MOVED, **self.moved})

    def faults_of(self, config: Config, checkpoint: Checkpoint) -> list[str]:
        """One sentence for every broken rule; checkpoint: model_config.yaml of the start, empty where there is none."""
        return [
            *checking.faults_of(common.RULES, config, checkpoint),
            *checking.faults_of(self.rules, config, checkpoint),
        ]

    def check(self, config: Config, checkpoint: Checkpoint) -> None:
        """Raise one ConfigError with every broken rule."""
        checking.refuse(self.faults_of(config, checkpoint))

    def identity(self, resolved: DictConfig) -> dict[str, Any]:
        """What a start must ask for to be the same run with the same end."""
        return identity(resolved, self.schema)

    def refuse_other_run(self, folder: str, stored: Mapping[str, Any], resolved: DictConfig) -> None:
        """Raise ConfigError where the run in `folder` is another one than the one asked for."""
        refuse_other_run(folder, stored, resolved, self.schema)
