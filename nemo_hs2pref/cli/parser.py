"""An argument parser that takes no empty word, and of numbers only finite ones, whatever the verb."""

import argparse
import math
from pathlib import Path
from typing import Any


class Parser(argparse.ArgumentParser):
    """`type=Path`, `type=float` and the plain text of an argument are checked without the verbs' doing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register("type", None, text)
        self.register("type", Path, path)
        self.register("type", float, finite)


def text(word: str) -> str:
    if not word.strip():
        raise argparse.ArgumentTypeError(f"{word!r} is empty; give a value, or leave the option out")
    return word


def path(word: str) -> Path:
    return Path(text(word))  # Path("") would be the working folder


def finite(word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{word}: expected a finite number")
    return number
