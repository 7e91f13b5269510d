"""A few words of SVG over ElementTree, which does the escaping."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from hwdiag.report.format import clean

NAMESPACE = "http://www.w3.org/2000/svg"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

# Dark ink on a white card reads the same on a dark page and on a light one, and in print.
INK = "#1b2129"
MUTED = "#55606d"
LINE = "#c9d0d8"
CARD = "#ffffff"

# Okabe & Ito, "Color Universal Design" (2008): told apart with every common kind of colour vision.
BLUE, ORANGE, GREEN, VERMILION, PURPLE = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7"


def number(value: float) -> str:
    """Return a coordinate to a tenth of a pixel, which keeps the file small and the same everywhere."""
    return f"{round(value, 1):g}"


def add(parent: ET.Element, tag: str, text: str | None = None, **attributes: Any) -> ET.Element:
    """Append an element; underscores in attribute names become hyphens, numbers are rounded."""
    plain = {
        key.rstrip("_").replace("_", "-"): number(value) if isinstance(value, (int, float)) else str(value)
        for key, value in attributes.items()
        if value is not None
    }
    element = ET.SubElement(parent, tag, plain)
    if text is not None:
        element.text = clean(text)
    return element


def new(width: float, height: float) -> ET.Element:
    """Return an empty drawing of so many pixels."""
    root = ET.Element("svg", {"xmlns": NAMESPACE, "width": number(width), "height": number(height)})
    root.set("viewBox", f"0 0 {number(width)} {number(height)}")
    root.set("font-family", FONT)
    return root


def describe(root: ET.Element, name: str, title: str, description: str, prefix: str = "") -> None:
    """Say inside the drawing what it shows, where screen readers and other programs look for it."""
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-desc")
    for place, (part, text) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(prefix + part, {"id": f"{name}-{part}"})
        element.text = clean(text)
        root.insert(place, element)


def serialise(root: ET.Element) -> str:
    """Return the drawing as text, without an XML declaration."""
    return ET.tostring(root, encoding="unicode")
