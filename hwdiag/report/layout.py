"""Boxes in boxes: the small layout engine behind the topology drawing.

A ``Layout`` is asked "what do you look like in so much width?" and answers with a ``Block``, or None if it needs more.
Asking top-down and answering bottom-up lets every level choose how many columns make the drawing lowest.
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
class Block:
    """Something with a natural size, which can be drawn into that much room or more."""

    width: float
    height: float
    draw: Callable[[Element, float, float, float, float], None]
    """Called with parent, x, y, width, height."""


Layout = Callable[[float], Block | None]


def text_width(text: str, font: float) -> float:
    """Estimated width of a text in pixels."""
    return len(text) * font * GLYPH


def columns(parts: Sequence[Layout], gap: float, most: int = 4) -> Layout:
    """Parts in equal columns; as many as make it lowest, the fewest of those."""

    def place(available: float) -> Block | None:
        best: Block | None = None
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


def _grid(blocks: Sequence[Block], count: int, gap: float) -> Block:
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

    return Block(width * count + gap * (count - 1), sum(heights) + gap * (len(rows) - 1), draw)


def stack(parts: Sequence[Layout], gap: float, fill: bool = False) -> Layout:
    """Parts below each other, each as wide as there is room; with ``fill`` the last one takes the height left over."""

    def place(available: float) -> Block | None:
        blocks = [block for block in (part(available) for part in parts) if block is not None]
        if len(blocks) < len(parts):
            return None

        def draw(parent: Element, x: float, y: float, w: float, h: float) -> None:
            for block in blocks:
                taken = block.height + (max(0, h - height) if fill and block is blocks[-1] else 0)
                block.draw(parent, x, y, w, taken)
                y += taken + gap

        height = sum(b.height for b in blocks) + gap * max(0, len(blocks) - 1)
        return Block(max((b.width for b in blocks), default=0), height, draw)

    return place


def frame(content: Layout, pad: float, **attributes: Any) -> Layout:
    """A rounded box around something."""

    def place(available: float) -> Block | None:
        inner = content(available - 2 * pad)
        if inner is None:
            return None

        def draw(parent: Element, x: float, y: float, w: float, h: float) -> None:
            svg.add(parent, "rect", x=x, y=y, width=w, height=h, **attributes)
            inner.draw(parent, x + pad, y + pad, w - 2 * pad, h - 2 * pad)

        return Block(inner.width + 2 * pad, inner.height + 2 * pad, draw)

    return place


def line(left: str, right: str = "", font: float = 12, most: float = 300, **attributes: Any) -> Layout:
    """One line of text, with a part at the right end; wider than ``most`` it may be cut."""
    left, right = clean(left), clean(right)
    natural = text_width(left, font) + (text_width(right, font) + 2 * font if right else 0)

    def place(available: float) -> Block | None:
        if available < min(natural, most):
            return None
        return Block(min(natural, available), font * 1.45, draw)

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
    """A grid of equal cells; ``paint`` is called with parent, index, x and y of each."""

    def place(available: float) -> Block | None:
        fit = min(most, math.floor((available + gap) / (width + gap)))
        if fit < 1:
            return None
        across = _across(count, fit)
        rows = math.ceil(count / across)

        def draw(parent: Element, x: float, y: float, *_: float) -> None:
            for i in range(count):
                paint(parent, i, x + i % across * (width + gap), y + i // across * (height + gap))

        return Block(across * (width + gap) - gap, rows * (height + gap) - gap, draw)

    return place


def _across(count: int, fit: int) -> int:
    """Cells in a row: all if they fit, else a number that fills every row, else one that makes rows about equal."""
    if count <= fit:
        return count
    even = (n for n in range(fit, fit // 2, -1) if count % n == 0)
    return next(even, math.ceil(count / math.ceil(count / fit)))
