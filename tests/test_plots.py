"""The picture of a run."""

import json
from pathlib import Path

from nemo_hs2pref.plots.training import panels_of, plot_training

ROWS = [
    {"kind": "train", "step": 1, "loss": 2.0, "accuracy_strength_1": 0.5, "lr": 1e-6, "grad_norm": 3.0},
    {"kind": "train", "step": 2, "loss": 1.0, "grad_norm": 2.0},
    {"kind": "val", "step": 2, "val_pairs_loss": 1.5, "val_pairs_accuracy_strength_1": 0.75},
    {"kind": "val", "step": 2, "val_safety_loss": 4.0},
]


def test_a_panel_holds_the_curves_of_its_metric_by_set() -> None:
    panels = panels_of(ROWS)
    assert panels["loss"] == {"train": [(1, 2.0), (2, 1.0)], "pairs": [(2, 1.5)], "safety": [(2, 4.0)]}
    assert panels["accuracy by strength"] == {"pairs 1": [(2, 0.75)]}
    assert panels["gradient norm"] == {"train": [(1, 3.0), (2, 2.0)]}
    assert panels.keys() == {"loss", "accuracy by strength", "gradient norm"}


def test_a_picture_is_written_whole_even_of_a_run_without_steps(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "empty").mkdir()
    plot_training({"one": tmp_path / "run", "none": tmp_path / "empty"}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"run", "empty", "curves.png"}
