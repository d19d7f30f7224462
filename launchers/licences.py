"""The table of docs/licences.md: the licence of every package that is installed, as its own metadata states it."""

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE, RULE = ROOT / "docs" / "licences.md", "|---|---|\n"  # what stands above the table's rule is written by hand


def licence_of(package: Distribution) -> str:
    """The expression, where there is one; else what the classifiers or the free text say."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    named = [line.split(" :: ")[-1] for line in metadata.get_all("Classifier", []) if line.startswith("License ::")]
    text = str(metadata.get("License") or "").strip()
    return "; ".join(sorted({*named} - {"OSI Approved"})) or (text.splitlines()[0][:60] if text else "not stated")


def rows() -> list[str]:
    """Of the packages of constraints.txt that are installed here; the versions stand there."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    names = sorted({pin[1] for line in lines if (pin := re.match(r"([\w.-]+)==", line))})
    return [f"| {name} | {licence_of(package)} |" for name in names if (package := installed(name))]


def installed(name: str) -> Distribution | None:
    """None where this Python does not need it."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def page() -> str:
    return PAGE.read_text().partition(RULE)[0] + RULE + "".join(f"{row}\n" for row in rows())


if __name__ == "__main__":
    PAGE.write_text(page())
