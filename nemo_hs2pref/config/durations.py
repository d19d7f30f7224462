"""Lengths of time as SLURM and NeMo write them.

    90  90:30  1:30:00          minutes, minutes:seconds, hours:minutes:seconds
    2-4  2-4:30  2-4:30:00      days-hours, and so on
    02:04:30:00                 days:hours:minutes:seconds, NeMo's and Aligner's only form
    UNLIMITED  INFINITE         no limit

Source: sbatch(1), --time; NeMo's exp_manager.max_time_per_run.
"""

import math
import re

from nemo_hs2pref.errors import ConfigError

FORMS = "minutes, [days-]hours:minutes:seconds or UNLIMITED"
UNLIMITED = ("UNLIMITED", "INFINITE")
SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
UNITS = {1: "m", 2: "ms", 3: "hms", 4: "dhms"}  # of the numbers between the colons, by how many there are


def parse_duration(text: str) -> float:
    """Seconds; infinity where there is no limit. Raises ConfigError for what is none of the forms."""
    text = text.strip()
    if text.upper() in UNLIMITED:
        return math.inf
    if not re.fullmatch(r"\d+-\d+(:\d+){0,2}|\d+(:\d+){0,3}", text):
        raise ConfigError(f"{text!r} is not a length of time; expected {FORMS}")
    days, _, clock = text.rpartition("-")
    numbers = clock.split(":")
    units = "hms"[: len(numbers)] if days else UNITS[len(numbers)]
    parts = zip(numbers, units, strict=True)
    return float(int(days or 0) * SECONDS["d"] + sum(int(number) * SECONDS[unit] for number, unit in parts))


def format_duration(seconds: float) -> str:
    """days-hours:minutes:seconds as SLURM prints it, without days where there are none; whole seconds, rounded down."""
    if math.isinf(seconds):
        return "UNLIMITED"
    minutes, s = divmod(int(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    return f"{days}-{h:02}:{m:02}:{s:02}" if days else f"{h}:{m:02}:{s:02}"
