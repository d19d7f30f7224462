"""Other people's texts, as a page can hold them."""

from nemo_hs2pref.outside import visible

SHOWN = 600  # characters of a text that stand open
MOST = 20_000  # characters of a text that the page has at all


def printable(text: str) -> str:
    """The text with characters spelled out that a page cannot hold or show; lines end in \\n; secrets are masked."""
    return visible(text.replace("\r\n", "\n").replace("\r", "\n"))


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
