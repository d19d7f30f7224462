"""What pip-audit says of hashed requirements, and of how many it could not ask.

pip-audit alone ends with "No known vulnerabilities found" and 0 where the registry answers nothing: it skips.
"""

import json
import subprocess
import sys
from typing import Any

AUDIT = [
    sys.executable,
    "-m",
    "pip_audit",
    "--format=json",
    "--progress-spinner=off",
    "--disable-pip",
    "--require-hashes",
]
NONE_KNOWN, SOME_KNOWN, NOT_ASKED = 0, 1, 2


def main(files: list[str]) -> int:
    codes = [report(file, ask(file)) for file in files]
    return SOME_KNOWN if SOME_KNOWN in codes else max(codes)


def ask(file: str) -> list[dict[str, Any]] | str:
    """A package each, or why there was no answer."""
    done = subprocess.run([*AUDIT, "--requirement", file], capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        said = done.stderr.strip().splitlines()
        return said[-1] if said else f"exit code {done.returncode}"


def report(file: str, answer: list[dict[str, Any]] | str) -> int:
    if isinstance(answer, str):
        print(f"{file}: could not ask: {answer}")
        return NOT_ASKED
    skipped = [package for package in answer if "skip_reason" in package]
    known = [(package, fault) for package in answer for fault in package.get("vulns", [])]
    for package, fault in known:
        fixed = ", ".join(fault["fix_versions"]) or "no version"
        print(f"{file}: {package['name']} {package['version']}: {fault['id']}, fixed in {fixed}")
    asked = len(answer) - len(skipped)
    print(f"{file}: {asked} of {len(answer)} packages asked about, {len(known)} known vulnerabilities")
    if skipped:
        print(f"{file}: could not ask about {len(skipped)}; the first: {skipped[0]['skip_reason']}")
    return SOME_KNOWN if known else NOT_ASKED if skipped or not answer else NONE_KNOWN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
