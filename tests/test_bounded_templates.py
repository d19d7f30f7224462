"""Chat templates that cost too much, or raise: one sentence, and no process is left behind."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import chat_tokenizers
import pytest

from nemo_hs2pref.data.records import Message
from nemo_hs2pref.data.templates import bounded, render
from nemo_hs2pref.errors import DataError

TURNS = (Message("user", "Hi"), Message("assistant", "Hello"))


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "takes more than 5 s for one",
        ),
        ("{{ 10 ** (10 ** 9) }}", "takes more than 5 s for one conversation"),
        ("{{ 'x' * 10 ** 10 }}", "takes more than 1 GiB for one conversation"),
        ("{{ messages[0].nope.nope }}", "'dict object' has no attribute 'nope'"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{% for", "unexpected 'end of template'"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "maximum recursion depth exceeded"),
    ],
)
def test_template_that_costs_too_much_or_raises_is_one_sentence(
    template: str, reason: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bounded, "MOST_SECONDS", 5.0)
    tokenizer = chat_tokenizers.llama3()
    assert render(TURNS, "tokenizer", tokenizer)  # a template before it was good
    tokenizer(["many", "texts"])  # the package tokenizers warns of forks after that
    good, tokenizer.chat_template = tokenizer.chat_template, template
    with pytest.raises(DataError, match=re.escape(f"refuses the roles user, assistant ({reason}")):
        render(TURNS, "tokenizer", tokenizer)
    tokenizer.chat_template = good
    assert render(TURNS, "tokenizer", tokenizer)
    assert capfd.readouterr() == ("", "")


def test_child_that_renders_ends_with_its_parent() -> None:
    program = (
        "import chat_tokenizers; from nemo_hs2pref.data.templates import bounded, render\n"
        "from nemo_hs2pref.data.records import Message; import os, signal; tokenizer = chat_tokenizers.llama3()\n"
        "render([Message('user', 'a'), Message('assistant', 'b')], 'tokenizer', tokenizer)\n"
        "print(bounded.children[tokenizer].pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    child = Path("/proc", done.stdout.strip())
    deadline = time.monotonic() + 30
    while child.exists() and "\nState:\tZ" not in (child / "status").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert done.stdout and (not child.exists() or "\nState:\tZ" in (child / "status").read_text())
