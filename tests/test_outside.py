"""What comes from files is shown without what moves a cursor, turns a line around or makes one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nemo_hs2pref.checkpoint import layout
from nemo_hs2pref.checkpoint.opening import read_manifest
from nemo_hs2pref.cli import main
from nemo_hs2pref.outside import one_line, show, visible, visible_output

ESC, BIDI, C1 = "\x1b]0;owned\x07\x1b[2J", "\u202egnp.exe\u2066", "\x9b31m"
HOSTILE = f"a{ESC}b{BIDI}c{C1}d\re\nhs2pref train: finished\u2028f"
ACTS = "\x1b\x07\u202e\u2066\x9b\r\u2028"


def assert_harmless(text: str) -> None:
    assert not set(text) & set(ACTS), ascii(text)
    assert not [line for line in text.splitlines() if line.startswith("hs2pref train: finished")]


def test_what_is_seen_stays_and_what_acts_is_marked() -> None:
    assert visible("é 漢 🙂 \tx\r\ny") == "é 漢 🙂 \tx\ny"
    assert visible("a\x1b[2Jb\u202ec\ud800") == r"a\x1b[2Jb\u202ec\ud800"
    assert one_line("a\nb\r\nc") == "a b c"


def test_all_that_is_printed_goes_through_one_door(capsys: pytest.CaptureFixture[str]) -> None:
    with visible_output(), visible_output():
        print(HOSTILE, file=sys.stderr)
        sys.stdout.writelines(["\x1b[1m", "x"])
        print("\r50%|█    |", end="", file=sys.stderr)  # a progress bar
        show([HOSTILE])
    printed = capsys.readouterr()
    assert printed.err.endswith("\r50%|█    |")
    assert not set(printed.err.removesuffix("\r50%|█    |") + printed.out) & set(ACTS)
    assert len(printed.out.split("\n")) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["train", "rm", f"data.dir{HOSTILE}=1"],
        ["plan", f"model.optim.lr={HOSTILE}"],
        ["plan", f"experiment={HOSTILE}"],
        ["status", f"/nowhere/{HOSTILE}"],
        ["checkpoint", "inspect", f"/nowhere/{HOSTILE}"],
        ["data", "inspect", f"/nowhere/{HOSTILE}"],
        ["report", f"/nowhere/{HOSTILE}"],
        ["submit", f"slurm/{HOSTILE}"],
        ["evaluate", "preferences", "--scores", f"/{HOSTILE}", "--input", "/no", "--out", "/tmp/no"],
    ],
    ids=lambda words: " ".join(words[:2]).splitlines()[0][:18],
)
def test_an_error_shows_what_it_names_without_its_effects(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(words)
    except SystemExit as end:  # argparse's
        code = end.code
    printed = capsys.readouterr()
    assert code in (1, 2)
    assert printed.err
    assert_harmless(printed.out + printed.err)


def test_a_row_and_its_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"id": HOSTILE, "prompt": HOSTILE, "chosen": "x", "rejected": HOSTILE, "subset": HOSTILE, HOSTILE: HOSTILE}
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps(row) + "\n" + json.dumps({**row, "id": "2"}) + "\n")
    for words in (["data", "inspect", str(file), "--no-plot"], ["data", "inspect", str(file), "--json"]):
        main(words)
        assert_harmless(capsys.readouterr().out)
    scores = tmp_path / "scores.jsonl"
    ids = [f"{name}:{side}" for name in (HOSTILE, "2") for side in ("chosen", "rejected")]
    scores.write_text("".join(json.dumps({"id": name, "reward": 1.0}) + "\n" for name in ids))
    main(["evaluate", "preferences", "--scores", str(scores), "--input", str(file), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr()
    assert_harmless(printed.out + printed.err)
    file.write_text(json.dumps({"id": HOSTILE, "prompt": 7}) + "\n")
    main(["data", "prepare", "--format", "pairs", "--source", str(file), "--out", str(tmp_path / "prepared")])
    assert_harmless(capsys.readouterr().err)


def test_a_checkpoint_and_a_run(
    nemo: Path, reward_hf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = read_manifest(nemo) | {"source": HOSTILE, HOSTILE: HOSTILE, "metrics": {HOSTILE: 1.0}, "step": 3}
    layout.write_manifest(nemo, manifest)
    folder = Path(shutil.copytree(reward_hf, tmp_path / "hf"))
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {key: f"{HOSTILE}{key}" for key in config["id2label"]}
    (folder / "config.json").write_text(json.dumps(config))
    for path in (nemo, folder):
        for words in ([], ["--json"]):
            assert main(["checkpoint", "inspect", str(path), *words]) == 0
            assert_harmless(capsys.readouterr().out)
    run = tmp_path / "run"
    run.mkdir()
    state = {"phase": "training", "step": 1, "num_steps": 2, "started": "2026-01-01T00:00:00+00:00"}
    state |= {"updated": "2026-01-01T00:00:00+00:00", "checkpoint": HOSTILE, "checkpoint_step": 1}
    (run / "run_state.json").write_text(json.dumps(state))
    (run / "failure.json").write_text(json.dumps({"rank": 0, "message": HOSTILE, "exit_code": 1, "time": HOSTILE}))
    assert main(["status", str(run)]) == 1
    printed = capsys.readouterr()
    assert "last checkpoint" in printed.out
    assert_harmless(printed.out + printed.err)


def test_a_command_that_fails_unexpectedly_too(tmp_path: Path) -> None:
    """By a traceback, whose last line is the message."""
    program = f"""
import nemo_hs2pref.cli as cli
cli.parse = lambda *_: type("Args", (), {{"verb": "x", "run": lambda *_: [][{HOSTILE!r}]}})()
raise SystemExit(cli.main(["plan"]))
"""
    done = subprocess.run([sys.executable, "-c", program.replace("[][", "{}[")], capture_output=True, text=True,
                          env={**os.environ, "PYTHONIOENCODING": "utf-8"}, timeout=120)  # fmt: skip
    assert done.returncode == 1 and "KeyError" in done.stderr
    assert_harmless(done.stderr)
