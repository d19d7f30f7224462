"""Every command of docs/results.md, in its order, on small sizes: what is said to have been run can be run."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from nemo_hs2pref.checkpoint.small_models.smollm2 import smollm2_source
from nemo_hs2pref.errors import InstallationError

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).parent / "results_worker.py"
SMALLER = {  # verb or script -> words that make it quick; of an option given twice the last counts
    "train": ["trainer.rm.max_steps=1", "trainer.rm.limit_val_batches=1"],
    "reproduce": ["trainer.rm.max_steps=1", "--rows", "rm_stage1_helpfulness", "--seeds", "1"],
    "convert": ["--layers", "1"],
    "real_rows": ["--max-length", "160", "--train-pairs", "40"],
}


def commands(rows: Path) -> list[list[str]]:
    """As they stand in the document, small, and with the folders of other people's rows."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "results.md").read_text(), flags=re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    places = {"ROWS": str(rows), "LLMBAR": str(rows / "llmbar")}
    given = [[places.get(word, word) for word in shlex.split(line, comments=True)] for line in lines if line.strip()]
    return [[*words, *SMALLER.get(Path(words[1]).stem, [])] for words in given]


def test_every_command_of_the_results_runs_in_order(
    tmp_path: Path, shared_data: Path, launch: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        smollm2_source()
    except InstallationError as error:
        pytest.skip(str(error))
    given = commands(shared_data)
    assert {words[0] for words in given} == {"hs2pref", "python"} and len(given) > 10
    (tmp_path / "commands.json").write_text(json.dumps(given))
    monkeypatch.chdir(tmp_path)
    launch(WORKER, ROOT / "benchmarks", tmp_path / "commands.json")
    named = {word for words in given for word in re.findall(r"out/[\w/]+", " ".join(words))}
    assert {"out/quickstart/stage1/checkpoints/last", "out/real256", "out/table1", "out/real_run"} <= named
    assert not [name for name in named if not list((tmp_path / name).parent.glob(f"{Path(name).name}*"))]
    manifest = json.loads((tmp_path / "out/real_run/stage2/checkpoints/last/hs2pref.json").read_text())
    prepared = json.loads((tmp_path / "out/real/manifest.json").read_text())["outputs"]
    assert manifest["data"] == {name: about["sha256"] for name, about in prepared.items()}
