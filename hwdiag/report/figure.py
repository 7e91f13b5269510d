"""Figure: a drawing with its words, as a value that notebooks and reports show."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from html import escape

from hwdiag.report.format import clean

SMALL = 520
"""Pixels to which a drawing's width may be shrunk to 360 and its letters still be read."""
_IMAGE = "max-width:100%;height:auto"
_CAPTION = "font-size:0.9em;opacity:0.8;margin-top:0.5em;line-height:1.45"


@dataclass(frozen=True, repr=False)
class Figure:
    """A drawing with its words."""

    name: str
    """File stem: ``thread-scaling``."""
    alt: str
    """What the drawing says, in sentences with the numbers: for those who cannot see it."""
    caption: str
    """How to read it."""
    svg: str
    evidence: tuple[str, ...] = ()
    """Ids of the measurements that it draws."""

    @property
    def is_small(self) -> bool:
        """Return whether it can be read on a screen of a phone's width as a whole."""
        width = re.search(r'<svg[^>]*\bwidth="(\d+)', self.svg[:2000])
        return width is not None and int(width[1]) <= SMALL

    def to_html(self) -> str:
        """Return a ``<figure>`` with the drawing inside, without scripts, style sheets or links.

        JupyterLab strips inline ``<svg>`` and ``<style>`` from notebooks that it does not trust;
        an image in a ``data:`` address with inline styles survives there, and its alt text everywhere.
        """
        data = b64encode(self.svg.encode()).decode()
        return (
            '<figure style="margin:1em 0">'
            f'<img alt="{escape(clean(self.alt))}" style="{_IMAGE}" src="data:image/svg+xml;base64,{data}">'
            f'<figcaption style="{_CAPTION}">{escape(clean(self.caption))}</figcaption></figure>'
        )

    def _repr_html_(self) -> str:
        return self.to_html()

    def __repr__(self) -> str:
        """Return the alt text, for a terminal or a notebook without pictures."""
        return clean(self.alt)

    __str__ = __repr__
