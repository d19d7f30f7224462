"""One row of Table 1 for real: killed while it trains, started again, scored, and in the table."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

ROW = "rm_scratch_scaled_bt"


def test_a_reproduction_that_was_killed_goes_on_and_ends_in_the_table(
    tmp_path: Path,
    llama_tiny: Path,
    sample: Path,
    launch: Callable[..., str],
    kill_when: Callable[[Path, str, list[str]], None],
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    shutil.copy(sample / "pairs.train.jsonl", data)
    pairs = (sample / "pairs.validation.jsonl").read_text().splitlines(keepends=True)[:8]
    (data / "pairs.validation.jsonl").write_text("".join(pairs))
    words = [
        *("-m", "nemo_hs2pref.cli", "reproduce", "table1", "--rows", ROW, "--seeds", "7,"),
        *("--data", str(data), "--base", str(llama_tiny), "--out", str(out), "model=llama_tiny"),
        *("model.encoder_seq_length=1000", "model.global_batch_size=4", "trainer.rm.max_steps=6"),
        *("trainer.rm.save_interval=1", "trainer.rm.limit_val_batches=1"),
    ]
    run = out / "seed_7" / ROW
    kill_when(run / "metrics.jsonl", '"step": 2', words)
    assert (run / "checkpoints" / "last").is_dir() and not (run / "done.json").exists()

    output = launch(*words)
    assert f"=== run 1 of 1: {ROW}, seed 7" in output and "resuming" in output
    steps = [row["step"] for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
             if row["kind"] == "train"]  # fmt: skip
    assert steps == [1, 2, 3, 4, 5, 6]

    result = json.loads((out / "table1.json").read_text())["rows"][ROW]
    scores = {row["id"]: row["reward"] for row in map(json.loads, (run / "scores.jsonl").read_text().splitlines())}
    names = [json.loads(pair)["id"] for pair in pairs]
    right = sum(scores[f"{name}:chosen"] > scores[f"{name}:rejected"] for name in names)
    assert result["accuracy"] == result["by_seed"]["7"] == right / 8
    assert (out / "table1.md").read_text() in output and (out / "table1.png").is_file()
