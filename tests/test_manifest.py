"""The hashes of a run's data: the manifest's, and those of files that no manifest names."""

import hashlib
import json
from pathlib import Path

from nemo_hs2pref.data.manifest import hashes_of, outputs_of


def test_files_that_no_manifest_names_are_hashed(tmp_path: Path) -> None:
    mine, prepared = tmp_path / "safety.jsonl", tmp_path / "pairs.train.jsonl"
    for file in (mine, prepared):
        file.write_text("{}\n")
    digest = hashlib.sha256(b"{}\n").hexdigest()
    assert outputs_of(tmp_path) == {} and hashes_of(tmp_path, [mine, prepared]) == dict.fromkeys(
        (mine.name, prepared.name), digest
    )
    outputs = {prepared.name: {"rows": 1, "sha256": "told"}, "other.jsonl": {"sha256": "too"}, "unknown.txt": {}}
    (tmp_path / "manifest.json").write_text(json.dumps({"tool": "data prepare", "outputs": outputs}))
    assert hashes_of(tmp_path, [mine, prepared]) == {prepared.name: "told", "other.jsonl": "too", mine.name: digest}
