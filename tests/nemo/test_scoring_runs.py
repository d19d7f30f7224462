"""The scoring loop on NeMo: what Hugging Face's side gives, and after a kill what it gives without one."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from nemo_hs2pref.checkpoint.hugging_face.to_hf import convert_to_hf
from nemo_hs2pref.data.records import read_pairs
from nemo_hs2pref.evaluation.scores import read_scores, rewards
from nemo_hs2pref.scoring import open_scorer
from nemo_hs2pref.scoring.journal import partial_of

WORKER = Path(__file__).parent / "scoring_worker.py"


def test_killed_run_goes_on_in_two_processes_and_gives_hugging_faces_rewards(
    reward_nemo: Path, sample: Path, tmp_path: Path, launch: Callable[..., str]
) -> None:
    pairs, output = sample / "pairs.validation.jsonl", tmp_path / "resumed.jsonl"
    conversations = [side for pair in read_pairs(pairs) for side in pair.conversations()]
    printed = launch(WORKER, "killed", reward_nemo, pairs, tmp_path, check=False)
    (file,) = partial_of(output).iterdir()
    before = sum(len(json.loads(line)["rows"]) for line in file.read_text().splitlines()[1:])
    assert 0 < before < len(conversations), printed

    printed = launch(WORKER, "resumed", reward_nemo, pairs, tmp_path, processes=2)
    assert f"{before} of {len(conversations)} rows were scored before" in printed
    assert sum(map(int, re.findall(r"computed (\d+)", printed))) == len(conversations) - before
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not partial_of(output).exists()

    convert_to_hf(reward_nemo, tmp_path / "hf")
    found = rewards(open_scorer(tmp_path / "hf").score(conversations))
    assert found == pytest.approx(rewards(read_scores(output)), abs=1e-5)
