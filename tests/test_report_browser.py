"""The page of `hs2pref report` in a real browser: it is drawn in light and dark, fits narrow screens, and says nothing
to the console.

Needs Chromium or Chrome: make browser-deps
"""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from report_runs import (
    by_quality,
    rewarded,
    some_pairs,
    write_data,
    write_evaluation,
    write_rewardbench,
    write_training,
)
from test_report import FULL, HOSTILE

from nemo_hs2pref.data.records import Message, PreferencePair
from nemo_hs2pref.report.write import write_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIME_LIMIT_S = 120
SIZE = (1200, 1600)


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("NO BROWSER: the report was not opened; make browser-deps")
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A run with everything that a page can have, wide tables and unbroken texts among it."""
    folder = tmp_path_factory.mktemp("runs")
    write_data(folder / "data")
    for name in ("stage1", "stage2"):
        write_training(folder / name, folder / "data", "model.optim.lr=3e-6")
        pairs = some_pairs(60)
        texts = ("x" * 3000, HOSTILE)
        pairs[0] = PreferencePair("p" * 200, (Message("user", HOSTILE * 20),), *texts, subset="s" * 80)
        rewards = rewarded(pairs, by_quality) | {f"{'p' * 200}:chosen": -5.0}
        write_evaluation(folder / name / "evaluation", pairs, rewards)
    write_rewardbench(folder / "stage2" / "rewardbench", FULL)
    one = write_report([folder / "stage2"], folder / "one")
    write_report([folder / "stage1", folder / "stage2"], folder / "two")
    return one.parent


def browse(browser: str, folder: Path, *arguments: str, size: tuple[int, int] = SIZE) -> subprocess.CompletedProcess:
    """One run of the browser with a profile of its own."""
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    command += [f"--user-data-dir={folder / 'profile'}", f"--window-size={size[0]},{size[1]}", "--hide-scrollbars"]
    command += ["--enable-logging=stderr", "--disable-extensions", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S)
    assert done.returncode == 0, done.stderr
    return done


def screenshot(browser: str, folder: Path, page: Path, *arguments: str) -> np.ndarray:
    """[height, width, 4], 0 to 1."""
    from matplotlib.image import imread

    file = folder / "page.png"
    done = browse(browser, folder, *arguments, f"--screenshot={file}", page.as_uri())
    assert "CONSOLE" not in done.stderr, done.stderr
    return imread(file)


@pytest.mark.parametrize("report", ["one", "two"])
def test_page_is_drawn_in_light_and_dark_without_a_word_to_the_console(browser, page, tmp_path, report):
    light = screenshot(browser, tmp_path, page / report / "report.html")
    dark = screenshot(browser, tmp_path, page / report / "report.html", "--force-dark-mode")

    assert light.shape[:2] == dark.shape[:2] == SIZE[::-1]
    assert light[2, 2, :3].min() > 0.9 and dark[2, 2, :3].max() < 0.2  # the paper
    for picture in (light, dark):
        assert len(np.unique((picture[..., :3] * 255).astype(int).reshape(-1, 3), axis=0)) > 50
        assert picture[..., :3].std() > 0.05  # text and pictures, not a blank page


@pytest.mark.parametrize("report", ["one", "two"])
@pytest.mark.parametrize("width", [400, 1200])
def test_page_is_no_wider_than_the_screen(browser, page, tmp_path, report, width):
    """In a frame, for a window of the browser cannot be as narrow as a telephone."""
    whole = (page / report / "report.html").read_text()
    opened = whole.replace("<details", "<details open")
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<meta charset="utf-8"><body style="margin:0"><iframe style="width:{width}px;height:900px;border:0" '
        f'srcdoc="{html.escape(opened)}"></iframe><p id="found"></p><script>onload = () => {{'
        "const root = frames[0].document.documentElement;"
        "document.getElementById('found').textContent = JSON.stringify([root.clientWidth, root.scrollWidth,"
        "frames[0].document.querySelectorAll('figure svg').length]) }</script>"
    )
    dom = browse(browser, tmp_path, "--dump-dom", frame.as_uri()).stdout
    client, scroll, pictures = json.loads(re.search(r'<p id="found">(.*?)</p>', dom)[1])
    assert pictures >= 5
    assert client == width >= scroll
