"""Layout of the topology drawing: boxes in boxes.

A ``Layout`` takes an available width and returns a ``Drawable`` of at most that width, or None if it needs more.
Widths go down and drawings come up, so every level chooses the number of columns that makes the drawing lowest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from hwdiag.report import svg
from hwdiag.report.format import clean, shorten

GLYPH = 0.6
"""Mean width of a character in font sizes, generous: DejaVu Sans, the widest system font around."""


@dataclass(frozen=True)
class Drawable:
    """A drawing with a natural size, which can be drawn at that size or larger."""

    width: float
    height: float
    draw: Callable[[Element, float, float, float, float], None]
    """Called with parent, x, y, width, height."""


Layout = Callable[[float], Drawable | None]


def text_width(text: str, font: float) -> float:
    """Return the estimated width of a text in pixels."""
    return len(text) * font * GLYPH


def columns(parts: Sequence[Layout], gap: float, most: int = 4) -> Layout:
    """Return parts in equal columns, in the number of columns that makes them lowest, and the fewest of those."""

    def place(available: float) -> Drawable | None:
        best: Drawable | None = None
        for count in range(1, min(most, len(parts)) + 1):
            width = (available - gap * (count - 1)) / count
            blocks = [block for block in (part(width) for part in parts) if block is not None]
            if len(blocks) < len(parts):
                break
            grid = _grid(blocks, count, gap)
            if best is None or grid.height < best.height - 1:
                best = grid
        return best

    return place


def _grid(blocks: Sequence[Drawable], count: int, gap: float) -> Drawable:
    rows = [blocks[i : i + count] for i in range(0, len(blocks), count)]
    width = max(b.width for b in blocks)
    heights = [max(b.height for b in row) for row in rows]

    def draw(parent: Element, x: float, y: float, w: float, h: float) -> None:
        each = (w - gap * (count - 1)) / count
        spare = max(0, h - sum(heights) - gap * (len(rows) - 1)) / len(rows)
        for row, natural in zip(rows, heights, strict=True):
            height = natural + spare
            for i, block in enumerate(row):
                block.draw(parent, x + i * (each + gap), y, each, height)
            y += height + gap

    return Drawable(width * count + gap * (count - 1), sum(heights) + gap * (len(rows) - 1), draw)


def stack(parts: Sequence[Layout], gap: float, fill: bool = False) -> Layout:
    """Return parts below each other, each as wide as the space; with ``fill`` the last one takes the height left
    over."""

    def place(available: float) -> Drawable | None:
        blocks = [block for block in (part(available) for part in parts) if block is not None]
        if len(blocks) < len(parts):
            return None

        def draw(parent: Element, x: float, y: float, w: float, h: float) -> None:
            for block in blocks:
                taken = block.height + (max(0, h - height) if fill and block is blocks[-1] else 0)
                block.draw(parent, x, y, w, taken)
                y += taken + gap

        height = sum(b.height for b in blocks) + gap * max(0, len(blocks) - 1)
        return Drawable(max((b.width for b in blocks), default=0), height, draw)

    return place


def frame(content: Layout, pad: float, **attributes: Any) -> Layout:
    """Return a rounded box around something."""

    def place(available: float) -> Drawable | None:
        inner = content(available - 2 * pad)
        if inner is None:
            return None

        def draw(parent: Element, x: float, y: float, w: float, h: float) -> None:
            svg.add(parent, "rect", x=x, y=y, width=w, height=h, **attributes)
            inner.draw(parent, x + pad, y + pad, w - 2 * pad, h - 2 * pad)

        return Drawable(inner.width + 2 * pad, inner.height + 2 * pad, draw)

    return place


def line(left: str, right: str = "", font: float = 12, most: float = 300, **attributes: Any) -> Layout:
    """Return one line of text, with a part at its right end. Beyond the width ``most`` it may be cut."""
    left, right = clean(left), clean(right)
    natural = text_width(left, font) + (text_width(right, font) + 2 * font if right else 0)

    def place(available: float) -> Drawable | None:
        if available < min(natural, most):
            return None
        return Drawable(min(natural, available), font * 1.45, draw)

    def draw(parent: Element, x: float, y: float, w: float, _: float) -> None:
        room = w - (text_width(right, font) + font if right else 0)
        cut = shorten(left, math.floor(room / (font * GLYPH) + 0.01))
        element = svg.add(parent, "text", cut, x=x, y=y + font * 1.05, font_size=font, fill=svg.INK, **attributes)
        if cut != left:
            svg.add(element, "title", left)
        if right:
            svg.add(
                parent, "text", right, x=x + w, y=y + font * 1.05, font_size=font, fill=svg.MUTED, text_anchor="end"
            )

    return place


def cells(count: int, width: float, height: float, gap: float, paint: Callable[[Element, int, float, float], None],
          most: int = 16) -> Layout:  # fmt: skip
    """Return a grid of equal cells; ``paint`` is called with parent, index, x and y of each."""

    def place(available: float) -> Drawable | None:
        fit = min(most, math.floor((available + gap) / (width + gap)))
        if fit < 1:
            return None
        across = _across(count, fit)
        rows = math.ceil(count / across)

        def draw(parent: Element, x: float, y: float, *_: float) -> None:
            for i in range(count):
                paint(parent, i, x + i % across * (width + gap), y + i // across * (height + gap))

        return Drawable(across * (width + gap) - gap, rows * (height + gap) - gap, draw)

    return place


def _across(count: int, fit: int) -> int:
    """Return the number of cells in a row: all if they fit, else one that fills every row, else one that makes rows
    about equal."""
    if count <= fit:
        return count
    even = (n for n in range(fit, fit // 2, -1) if count % n == 0)
    return next(even, math.ceil(count / math.ceil(count / fit)))
