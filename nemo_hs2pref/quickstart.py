"""The main job on one CPU: base, data, regression, scaled Bradley-Terry, ExPO, evaluation.

Each training step is the command that a user would type, in a process of its own, with the paper's experiment
brought to laptop scale by overrides; the command is printed before it runs. Sizes were chosen by measurement
(docs/results.md) so that two cores need less than ten minutes.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemo_hs2pref.checkpoint.identity import identity_of
from nemo_hs2pref.data.formats.helpsteer2 import RELEASE
from nemo_hs2pref.data.manifest import read_prepared
from nemo_hs2pref.data.reading.sources import open_tables
from nemo_hs2pref.errors import ConfigError, DataError
from nemo_hs2pref.evaluation.length import better_rule
from nemo_hs2pref.evaluation.outcome import Outcome
from nemo_hs2pref.evaluation.preferences import PreferenceReport
from nemo_hs2pref.evaluation.statistics import too_narrow
from nemo_hs2pref.evaluation.tasks import conversations_of, preferences
from nemo_hs2pref.files import write_json
from nemo_hs2pref.laptop import (
    BRADLEY_TERRY,
    LAPTOP,
    REGRESSION,
    base_words,
    command,
    extrapolate_words,
    is_prepared,
    prepare_words,
    train_words,
)

STAGE_1 = ("experiment=rm_stage1_helpfulness", *REGRESSION, *LAPTOP)
STAGE_2 = ("experiment=rm_stage2_scaled_bt", *BRADLEY_TERRY, *LAPTOP)
ROWS = tuple(f"{kind}.{split}.jsonl" for kind in ("ratings", "pairs") for split in ("train", "validation"))
MARKER = ".quickstart"  # a folder that has it is ours and may be replaced


@dataclass(frozen=True)
class Folders:
    """Where the parts of a run are."""

    out: Path

    @property
    def base(self) -> Path:
        return self.out / "base"

    @property
    def data(self) -> Path:
        return self.out / "data"

    @property
    def evaluations(self) -> Path:
        return self.out / "evaluation"

    @property
    def models(self) -> dict[str, Path]:
        return {
            "regression": self.out / "stage1" / "checkpoints" / "last",
            "scaled_bt": self.out / "stage2" / "checkpoints" / "last",
            "expo": self.out / "expo",
        }


def quickstart(out: Path, source: str) -> dict[str, Any]:
    """Run everything into `out` and return what stands in out/summary.json.

    source: `sample`, a folder or hub id that `hs2pref data prepare` reads, or a folder that is prepared already.
    """
    started = time.monotonic()
    refuse_incomplete(source)  # before an earlier quickstart is removed and a model converted
    clear(out)
    at = Folders(out)
    models = at.models
    command(base_words(at.base))
    data = prepared(source, at)
    command(train_words(STAGE_1, start=at.base, data=data, run=out / "stage1"))
    command(train_words(STAGE_2, start=models["regression"], data=data, run=out / "stage2"))
    command(extrapolate_words(models["regression"], models["scaled_bt"], models["expo"]))

    reports = evaluate(models, data, at.evaluations)
    summary = summarise(reports, seconds=time.monotonic() - started)
    write_json(out / "summary.json", summary)
    from nemo_hs2pref.plots.training import plot_training  # heavy: matplotlib
    from nemo_hs2pref.report.write import HTML, write_report  # draws, too

    plot_training({"stage 1: regression": out / "stage1", "stage 2: scaled BT": out / "stage2"}, out / "curves.png")
    page = write_report([at.evaluations / "validation" / name for name in models], out / "report") / HTML
    print("\n" + table(summary))
    print(f"\n{out / 'summary.json'}  {out / 'curves.png'}  {page}")
    return summary


def refuse_incomplete(source: str) -> None:
    """Raise DataError for a prepared folder that lacks a file of rows, and for what is no source of HelpSteer2's."""
    there = [name for name in ROWS if (Path(source) / name).is_file()]
    if not there:
        open_tables(source, RELEASE)
        return
    if lacking := [name for name in ROWS if name not in there or not (Path(source) / name).stat().st_size]:
        raise DataError(
            f"--data {source}: {', '.join(lacking)} missing or empty; the quickstart trains on ratings, then on pairs, "
            "and looks at held-out rows of both"
        )
    read_prepared(Path(source))


def clear(out: Path) -> None:
    """Start anew in a folder that an earlier quickstart made; refuse any other that is not empty."""
    if out.exists() and any(out.iterdir()) and not (out / MARKER).exists():
        raise ConfigError(f"--out {out}: holds files that are not a quickstart's; name a new folder")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / MARKER).touch()


def prepared(source: str, at: Folders) -> Path:
    """The folder with the prepared rows."""
    if is_prepared(source):
        return Path(source)
    command(prepare_words(source, at.base, at.data))
    return at.data


def evaluate(models: Mapping[str, Path], data: Path, out: Path) -> dict[str, dict[str, PreferenceReport]]:
    """Reports of every model on the held-out and the training pairs; out/<split>/<model> is the whole evaluation."""
    from nemo_hs2pref.scoring import open_scorer  # heavy: torch

    tasks = {split: preferences(str(data / f"pairs.{split}.jsonl")) for split in ("validation", "train")}
    reports: dict[str, dict[str, PreferenceReport]] = {name: {} for name in models}
    for name, path in models.items():
        print(f"\nscoring {path}", flush=True)
        scorer, origin = open_scorer(path), {"model": str(path.resolve()), "checkpoint": identity_of(path)}
        for split, task in tasks.items():
            scores = scorer.score(conversations_of(task.examples))
            reports[name][split] = report = task.report(scores)
            Outcome(task, scores, report, {**origin, "scores": None}).write(out / split / name)
    return reports


def summarise(reports: Mapping[str, Mapping[str, PreferenceReport]], seconds: float) -> dict[str, Any]:
    """out/summary.json; accuracies are shares, intervals 95 % percentile bootstrap over the held-out pairs."""
    held_out = reports["regression"]["validation"]
    models: dict[str, Any] = {
        "length_only": {"accuracy": held_out.length_only_accuracy, "interval": held_out.length_only_interval}
    }
    for name, splits in reports.items():
        models[name] = {
            "accuracy": splits["validation"].accuracy,
            "interval": splits["validation"].interval,
            "train_accuracy": splits["train"].accuracy,
        }
    _, length_alone = better_rule(held_out.length_only_accuracy, held_out.shorter_only_accuracy)
    return {
        "seconds": round(seconds, 1),
        "pairs": held_out.pairs,
        "prompts": held_out.prompts,
        "length_alone": length_alone,
        "models": models,
    }


def table(summary: Mapping[str, Any]) -> str:
    """What the run found, and what it does not show."""
    models, length = summary["models"], summary["length_alone"]
    lines = [f"{summary['pairs']} held-out pairs   accuracy  95% interval      training pairs"]
    for name, model in models.items():
        low, high = model["interval"]
        known = f"{model['train_accuracy']:>10.1%}" if "train_accuracy" in model else ""
        note = "   no better than length alone" if name != "length_only" and model["accuracy"] <= length else ""
        lines.append(f"{name:<20}{model['accuracy']:>8.1%}   [{low:.1%}, {high:.1%}]{known}{note}")
    lines += too_narrow({"": summary["prompts"]})
    lines.append(f"{summary['seconds']:.0f} s. A small model on a small sample: it measures nothing of the paper's.")
    return "\n".join(lines)
