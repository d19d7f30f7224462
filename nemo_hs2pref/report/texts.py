"""Other people's texts, as a page can hold them."""

import re

SHOWN = 600  # characters of a text that stand open
MOST = 20_000  # characters of a text that the page has at all
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|[\ud800-\udfff]|[\ufdd0-\ufdef\ufffe\uffff]")


def printable(text: str) -> str:
    """The text with a mark for each character that neither HTML nor UTF-8 can hold; lines end in \\n."""
    return CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n").replace("\r", "\n"))


def opening(text: str) -> tuple[str, str, str]:
    """What stands open, what is folded, and a sentence about what is left out; the last two may be empty.

    A text a little longer than the limit is not folded; the cut is at a space where there is one near.
    """
    if len(text) <= 1.25 * SHOWN:
        return text, "", ""
    space = max(text.rfind(" ", SHOWN - 60, SHOWN), text.rfind("\n", SHOWN - 60, SHOWN))
    cut = space if space > 0 else SHOWN
    missing = len(text) - MOST
    left_out = f"{missing:,} characters are left out here; the evaluation's file has them." if missing > 0 else ""
    return text[:cut], text[cut:MOST], left_out
