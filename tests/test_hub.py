"""Downloads: the real `datasets` against a server on this machine."""

import gzip
import hashlib
import json
import subprocess
import sys

import pytest
from hub_server import COMMIT, environment, serve

from nemo_hs2pref.data.formats.helpsteer2 import RELEASE
from nemo_hs2pref.data.jsonl import write_jsonl
from nemo_hs2pref.data.records import read_pairs

RATINGS = {"helpfulness": 4, "correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 2}


@pytest.fixture
def hub(tmp_path):
    """The hub with nvidia/HelpSteer2 of four rows; `.files` is the repository."""
    rated = [{"prompt": "Why?", "response": text, **RATINGS} for text in ("one", "two")]
    pair = {"split": "train", "prompt": "Why?", "response_1": "one", "response_2": "two", "preference_strength": 2}
    several = [{**row, **{name: [value] * 3 for name, value in RATINGS.items()}} for row in rated]
    rows = {"train": rated, "validation": rated, "preference": [pair], "disagreements": several}
    files = {}
    for table, file in RELEASE.layouts[0].items():
        write_jsonl(tmp_path / "upload" / f"{file}.gz", rows[table])
        files[f"{file}.gz"] = (tmp_path / "upload" / f"{file}.gz").read_bytes()

    with serve({"nvidia/HelpSteer2": files}, RELEASE.revision) as server:
        server.files = files
        yield server


def prepare(hub, source, tmp_path, *options):
    return subprocess.run(
        [sys.executable, "-m", "nemo_hs2pref.cli", "data", "prepare", "--source", source, "--out", "out", *options],
        cwd=tmp_path,
        env=environment(hub, tmp_path / "cache"),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_hub_is_read_at_the_pinned_revision_and_is_compared_with_what_was_released(hub, tmp_path):
    done = prepare(hub, "nvidia/HelpSteer2", tmp_path)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    for table, file in RELEASE.layouts[0].items():
        entry = manifest["inputs"][table]
        assert entry["name"] == f"nvidia/HelpSteer2@{COMMIT}/{file}.gz"
        assert entry["sha256"] == hashlib.sha256(hub.files[f"{file}.gz"]).hexdigest()
        assert entry["rows"] == len(gzip.decompress(hub.files[f"{file}.gz"]).splitlines())
    (pair,) = read_pairs(tmp_path / "out" / "pairs.train.jsonl")
    assert (pair.chosen, pair.chosen_attributes) == ("two", RATINGS)
    assert f"warning: nvidia/HelpSteer2@{COMMIT}/train.jsonl.gz has 2 rows, the release 20,324" in done.stderr
    assert "pairs.train has 1 pairs, the paper 6,766: 1 rows; the release has 8,677 rows" in done.stderr


def test_strict_refuses_what_was_not_released_and_writes_nothing(hub, tmp_path):
    done = prepare(hub, "nvidia/HelpSteer2", tmp_path, "--strict")
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert "is not HelpSteer2 as released, and --strict asks for it:" in done.stderr


def test_revision_that_is_not_there_is_one_sentence_that_names_the_folder_alternative(hub, tmp_path):
    done = prepare(hub, "nvidia/HelpSteer2@absent", tmp_path)
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert (
        "error: source nvidia/HelpSteer2@absent: no such file or folder here, and it cannot be loaded from the hub ("
        in done.stderr
    )
    assert "into a folder and pass that folder" in done.stderr and "Traceback" not in done.stderr
