"""The files of rows that a run reads: one rule for training and before it."""

from pathlib import Path

from nemo_hs2pref.config.schema import RewardModelConfig

# Validation sets that `hs2pref data prepare` writes; a source may have one of them.
STANDARD_SETS = ("ratings", "pairs")


def train_file(config: RewardModelConfig) -> Path:
    return Path(config.data.dir) / config.data.train


def validation_files(config: RewardModelConfig) -> dict[str, Path]:
    """Files of the named sets, whether they are there or not; a set that need not be there and is not is left out."""
    left_out = absent_set(config)
    return {name: Path(config.data.dir) / file for name, file in config.data.validation.items() if name != left_out}


def absent_set(config: RewardModelConfig) -> str | None:
    """Of ratings and pairs the set that the loss does not read, where it is not there."""
    (other,) = {*STANDARD_SETS} - {config.loss.reads}
    file = config.data.validation.get(other)
    return other if file is not None and not (Path(config.data.dir) / file).exists() else None
