"""A figure for a page that may be light or dark: SVG in the page's colours, and PNG for where there is no style."""

import io
import re

import matplotlib

from nemo_hs2pref.plots.statistics import FIRST, INK, PAPER, SECOND

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

PNG_DPI = 130
# colour in the figure -> variable of the page's style
VARIABLES = {INK: "--ink", PAPER: "--soft", FIRST: "--first", SECOND: "--second"}
REFERENCES = re.compile(r'(\bid="|xlink:href="#|url\(#)')


def svg_and_png(figure: Figure, name: str, label: str) -> tuple[str, bytes]:
    """The figure in both formats, closed; equal figures give equal bytes.

    Args:
        figure: drawn in the colours of plots.statistics.
        name: begins the ids in the SVG, so that those of several on one page differ.
        label: what a reader hears who does not see it.
    """
    drawn, png = io.StringIO(), io.BytesIO()
    with plt.rc_context({"svg.hashsalt": name}):
        figure.savefig(drawn, format="svg", transparent=True)
    figure.set_layout_engine("none")  # it is laid out; a second time would take as long as the drawing
    figure.savefig(png, format="png", dpi=PNG_DPI, metadata={"Software": None})
    plt.close(figure)
    return for_page(drawn.getvalue(), name, label), png.getvalue()


def for_page(svg: str, name: str, label: str) -> str:
    """The element alone, with ids of its own, colours of the page and a label, and without the time of drawing."""
    element = svg[svg.index("<svg") :].strip()
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = REFERENCES.sub(lambda found: f"{found[0]}{name}-", element)
    for colour, variable in VARIABLES.items():
        element = element.replace(colour, f"var({variable}, {colour})")
    label = re.sub(r'[<>&"]', " ", label)
    return element.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
