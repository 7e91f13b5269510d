"""The look that all plots share, and their way into a Figure: same data, same bytes.

matplotlib is imported inside the functions: it takes longer to load than all the rest of hwdiag.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from hwdiag.report import svg
from hwdiag.report.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

PIXEL = 1 / 72
"""matplotlib's SVG has 72 units to the inch; counting in those makes font sizes pixels."""

_LOOK: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: sharp, small, and in the reader's own font
    "svg.hashsalt": "hwdiag",  # ids are random without one
    "text.parse_math": False,  # a name with two dollar signs is not a formula
    "font.family": "DejaVu Sans",  # comes with matplotlib and is wide: what fits in it fits in the reader's font
    "font.size": 12,
    "axes.edgecolor": svg.LINE,
    "axes.labelcolor": svg.MUTED,
    "axes.labelsize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 12.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": svg.INK,
    "grid.color": "#e6eaee",
    "grid.linewidth": 0.8,
    "text.color": svg.INK,
    "xtick.color": svg.MUTED,
    "ytick.color": svg.MUTED,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "errorbar.capsize": 2.5,
}

_MARGINS: dict[str, Any] = {"w_pad": 14 * PIXEL, "h_pad": 16 * PIXEL, "wspace": 0.04, "hspace": 0.06}
"""Space between the drawing and the edge of its card, in inches, and between its panels."""


@contextmanager
def look() -> Iterator[None]:
    """Draw and save inside of this: our settings, whatever the person's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_LOOK)  # type: ignore[arg-type]  # newer stubs name every key
        yield


def canvas(width: float, height: float) -> Canvas:
    """Return an empty canvas of so many pixels, without pyplot and its global state."""
    from matplotlib.figure import Figure as Canvas

    picture = Canvas(figsize=(width * PIXEL, height * PIXEL), dpi=72, facecolor="none", layout="constrained")
    picture.get_layout_engine().set(**_MARGINS)  # type: ignore[union-attr]
    return picture


def place(picture: Canvas, axes: Axes, left: float, bottom: float, right: float, top: float) -> None:
    """Put axes where these pixels from the edges are free."""
    width, height = picture.get_size_inches() / PIXEL
    axes.set_position((left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height))


def to_figure(picture: Canvas, name: str, alt: str, caption: str, evidence: tuple[str, ...]) -> Figure:
    """Save on a white card, with the description inside."""
    buffer = io.BytesIO()
    picture.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    root = ElementTree.fromstring(buffer.getvalue())
    _plain(root)
    _card(root)
    svg.describe(root, name, name.replace("-", " "), alt, prefix=f"{{{svg.NAMESPACE}}}")
    ElementTree.register_namespace("", svg.NAMESPACE)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    text = svg.serialise(root).replace("'DejaVu Sans'", svg.FONT)
    return Figure(name, alt, caption, text, tuple(dict.fromkeys(evidence)))


def _plain(root: ElementTree.Element) -> None:
    """Remove matplotlib's metadata, and measure in pixels instead of points."""
    for metadata in root.findall(f"{{{svg.NAMESPACE}}}metadata"):
        root.remove(metadata)
    for side in ("width", "height"):
        root.set(side, root.get(side, "").replace("pt", ""))


def _card(root: ElementTree.Element) -> None:
    width, height = (float(root.get(side, "0")) for side in ("width", "height"))
    card = {"x": "0.5", "y": "0.5", "width": svg.number(width - 1), "height": svg.number(height - 1), "rx": "12"}
    root.insert(0, ElementTree.Element(f"{{{svg.NAMESPACE}}}rect", card | {"fill": svg.CARD, "stroke": svg.LINE}))
