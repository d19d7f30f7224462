"""Where people look at curves while a run goes on: TensorBoard and Weights & Biases, each by choice."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from omegaconf import DictConfig, OmegaConf

from nemo_hs2pref.config.schema.common import ExpManager, WandbParams
from nemo_hs2pref.errors import InstallationError

WANDB_ID = "wandb_id"  # in the run folder, so that a resumed run goes on in the same curves


class Logger(Protocol):
    """One destination."""

    def write(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


def loggers(exp_manager: ExpManager, resolved: DictConfig, folder: Path, step: int) -> Iterator[Logger]:
    """The loggers that the configuration asks for."""
    if exp_manager.create_tensorboard_logger:
        yield TensorBoardLogger(folder, step)
    if exp_manager.create_wandb_logger:
        yield WandbLogger(exp_manager.wandb_logger_kwargs, resolved, folder, step)


class TensorBoardLogger:
    """Event files in tensorboard/; those after `step` are hidden."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter  # heavy, and optional

        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class WandbLogger:
    """A run in a project; its files are in wandb/. A resumed run does not log again the steps that are there."""

    def __init__(self, params: WandbParams, resolved: DictConfig, folder: Path, step: int) -> None:
        try:
            import wandb  # heavy, and optional
        except ImportError:
            raise InstallationError(
                "exp_manager.create_wandb_logger=true needs the package wandb; `pip install wandb`, or set it to false"
            ) from None
        stored = folder / WANDB_ID
        name = params.name or folder.name
        self.run = wandb.init(
            project=params.project,
            name=name,
            dir=str(folder),
            id=stored.read_text() if step and stored.exists() else None,  # a run started anew has its own
            resume="allow",
            config=OmegaConf.to_container(resolved),  # pyright: ignore[reportArgumentType] keys are strings
        )
        stored.write_text(self.run.id)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        self.run.log(dict(metrics), step=step)

    def close(self) -> None:
        self.run.finish()
