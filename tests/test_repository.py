"""The commit that a run records."""

import subprocess
from pathlib import Path

from nemo_hs2pref.repository import code_version


def test_a_checkout_has_a_commit_and_says_when_files_differ_from_it(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", *identity, "-C", tmp_path, *words], check=True, capture_output=True, text=True
        ).stdout

    (tmp_path / "file.py").write_text("1\n")
    assert code_version(tmp_path) == {}
    git("init")
    assert code_version(tmp_path) == {}  # no commit yet
    git("add", "file.py")
    git("commit", "-m", "a")
    commit = git("rev-parse", "HEAD").strip()
    (tmp_path / "untracked").touch()
    assert code_version(tmp_path) == {"git_commit": commit}
    (tmp_path / "file.py").write_text("2\n")
    assert code_version(tmp_path) == {"git_commit": f"{commit} and changes"}
    (tmp_path / "package").mkdir()
    assert code_version(tmp_path / "package") == {}  # installed below somebody's repository
