"""The rows of HelpSteer2-Preference's Table 1, the runs that fill them, and the command of each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.laptop import BRADLEY_TERRY, LAPTOP, MAX_LENGTH, REGRESSION, extrapolate_words, train_words

STAGE_1, STAGE_2, EXPO = "rm_stage1_helpfulness", "rm_stage2_scaled_bt", "expo"
FROM_SCRATCH = ("trainer.rm.max_epochs=2", "model.optim.lr=1e-4")  # twice the LR of stage 2, as the experiments have it
BASE, DATA = "base", "data"  # in OUT: what is made there where it is not given
FIRST_SEED = 1234  # model.seed of conf/train_rm.yaml


@dataclass(frozen=True)
class Row:
    """One line of the table: an experiment, or ExPO, which trains nothing."""

    starts: tuple[str, ...] = ()  # rows of the same seed that it needs; none: it starts from the base model
    laptop: tuple[str, ...] = ()  # overrides that bring it to a laptop, beside those of all rows


# In the table's order, in which each row also finds its starts done.
TABLE1 = {
    "rm_regression_all_attributes": Row(laptop=REGRESSION),
    STAGE_1: Row(laptop=REGRESSION),
    "rm_scratch_regular_bt": Row(laptop=FROM_SCRATCH),
    "rm_scratch_margin_bt": Row(laptop=FROM_SCRATCH),
    "rm_scratch_scaled_bt": Row(laptop=FROM_SCRATCH),
    "rm_stage2_regular_bt": Row((STAGE_1,), BRADLEY_TERRY),
    "rm_stage2_margin_bt": Row((STAGE_1,), BRADLEY_TERRY),
    STAGE_2: Row((STAGE_1,), BRADLEY_TERRY),
    EXPO: Row((STAGE_1, STAGE_2)),
}


@dataclass(frozen=True)
class Scale:
    """How large the models are, and what all rows share there."""

    overrides: tuple[str, ...]
    max_length: int  # tokens
    tensor_parallel: int  # of scoring
    seeds: int  # unless told otherwise
    runs_here: bool  # else the commands are printed, for a cluster


# On a laptop a killed run loses 20 steps at most. It validates on little: all models score all pairs at the end.
LAPTOP_RUN = (*LAPTOP, "trainer.rm.save_interval=20", "trainer.rm.limit_val_batches=4")
SCALES = {
    "laptop": Scale(LAPTOP_RUN, max_length=MAX_LENGTH, tensor_parallel=1, seeds=3, runs_here=True),
    "70b": Scale((), max_length=4096, tensor_parallel=8, seeds=1, runs_here=False),
}


@dataclass(frozen=True)
class Run:
    """One row with one seed."""

    row: str
    seed: int
    folder: Path  # OUT/seed_<seed>/<row>

    def __str__(self) -> str:
        return f"{self.row}, seed {self.seed}"

    @property
    def model(self) -> Path:
        """The checkpoint that it leaves."""
        return self.folder / "checkpoint" if self.row == EXPO else self.folder / "checkpoints" / "last"

    def of(self, row: str) -> "Run":
        """The run of another row with the same seed."""
        return Run(row, self.seed, self.folder.parent / row)


@dataclass(frozen=True)
class Plan:
    """Everything that a reproduction is made of."""

    out: Path
    base: Path
    data: Path  # prepared
    scale: str
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    overrides: tuple[str, ...] = field(default=())  # the user's, for every training

    @property
    def runs(self) -> list[Run]:
        """In the order in which they can be done."""
        return [Run(row, seed, self.out / f"seed_{seed}" / row) for seed in self.seeds for row in self.rows]

    def words(self, run: Run) -> list[str]:
        """The command of a run, without `hs2pref`."""
        starts = TABLE1[run.row].starts
        if run.row == EXPO:
            weak, strong = (run.of(row).model for row in starts)
            return extrapolate_words(weak, strong, run.model)
        start = run.of(starts[0]).model if starts else self.base
        return train_words(self.settings(run), start=start, data=self.data, run=run.folder)

    def settings(self, run: Run) -> list[str]:
        """Overrides of a training. Of two for one key the later one counts: the user's, but row and seed stay."""
        small = TABLE1[run.row].laptop if self.scale == "laptop" else ()
        fixed = (f"experiment={run.row}", f"model.seed={run.seed}")
        given = (*fixed, *SCALES[self.scale].overrides, *small, *self.overrides, *fixed)
        return list({word.partition("=")[0]: word for word in given}.values())


def with_starts(asked: Sequence[str]) -> tuple[str, ...]:
    """The rows asked for and those that they start from, in the table's order; all without any."""
    unknown = [row for row in asked if row not in TABLE1]
    if unknown:
        raise ConfigError(f"--rows {','.join(unknown)}: not in Table 1; the rows are {', '.join(TABLE1)}")
    wanted = set(asked or TABLE1)
    for row in reversed(TABLE1):  # a row's starts stand before it
        if row in wanted:
            wanted |= set(TABLE1[row].starts)
    return tuple(row for row in TABLE1 if row in wanted)


def seeds_of(text: str | None, scale: str) -> tuple[int, ...]:
    """`3`: three seeds, the first that of the configuration. `5,7`: these; `5,`: this one."""
    text = text or str(SCALES[scale].seeds)
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    seeds = numbers if "," in text else [FIRST_SEED + i for number in numbers for i in range(number)]
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {text}: expected how many, such as 3, or which, such as 5,7")
    return tuple(seeds)
