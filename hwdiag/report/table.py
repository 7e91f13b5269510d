"""Table: rows with a caption, as a value that a terminal, a notebook and the report show."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from hwdiag.report.format import clean, percent, plural, shorten

_BORDER = "border-bottom:1px solid rgba(128,128,128,0.35)"
_CELL = f"padding:0.35em 0.9em 0.35em 0;vertical-align:top;{_BORDER}"
_TABLE = "table-layout:auto;margin:0;border-collapse:collapse;font-size:0.95em;line-height:1.4;width:100%"
_CAPTION = "caption-side:top;text-align:left;font-weight:600;padding:0.3em 0"
_HIDDEN = ";position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)"
_BOX = "overflow-x:auto;position:relative"
_NARROW = "max-width:40em"
_ANCHOR = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_FEW = 3
"""Up to so many ids are listed in a row; more are folded."""
_LEAST = 16
"""A column is not wrapped to fewer characters."""


@dataclass(frozen=True)
class Ids:
    """A cell of ids of measurements, or of dotted paths into the record."""

    ids: tuple[str, ...]

    def __str__(self) -> str:
        if len(self.ids) <= _FEW:
            return ", ".join(self.ids)
        return f"{self.ids[0]} … {self.ids[-1]} ({len(self.ids)})"

    def to_html(self, linked: Collection[str] = ()) -> str:
        """Return the ids, as links where they are among ``linked``; many of them are folded."""
        links = ", ".join(_link(i, linked) for i in self.ids)
        if len(self.ids) < _FEW:
            return f'<span class="ids">{links}</span>'
        summary = plural(len(self.ids), "measurement")
        return f'<details class="ids"><summary>{summary}</summary>{links}</details>'


def _link(identifier: str, linked: Collection[str]) -> str:
    text = escape(clean(identifier))
    if identifier in linked and is_anchor(identifier):
        return f'<a href="#{text}">{text}</a>'
    return text


def is_anchor(identifier: str) -> bool:
    """Return whether an id from a record can be an address's fragment as it stands."""
    return _ANCHOR.fullmatch(identifier) is not None


@dataclass(frozen=True)
class Share:
    """A cell with a share of 1: a gauge beside the number, where gauges can be drawn."""

    value: float

    def __str__(self) -> str:
        return percent(self.value)

    def to_html(self, _: Collection[str] = ()) -> str:
        """Return the percentage with a gauge, which is hidden from screen readers: they read the number."""
        shown = min(max(self.value, 0), 1)
        gauge = f'<meter aria-hidden="true" style="width:5em" value="{shown:.3f}"></meter>'
        return f"{percent(self.value)} {gauge}"


Cell = str | Ids | Share


@dataclass(frozen=True, repr=False)
class Table:
    """Rows with a caption. The first column names the row."""

    caption: str
    header: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    numeric: frozenset[int] = frozenset()
    """Columns that are aligned at their right end."""
    anchors: tuple[str, ...] = ()
    """An id for each row, which links in the same page can lead to."""

    def to_html(self, linked: Collection[str] = (), caption: bool = True, styled: bool = True) -> str:
        """Return a ``<table>`` that scrolls sideways in its own box.

        Args:
            linked: ids that have an anchor on the same page; mentions of them become links.
            caption: False hides the caption from sight (not from screen readers), for use below a heading.
            styled: with inline styles, as a notebook needs them; False leaves the looks to the page's style sheet,
                which finds columns of numbers by their class ``number``.
        """
        label = escape(clean(self.caption))
        hidden = "" if caption else _HIDDEN
        least = f";min-width:{6 * len(self.header)}em" if len(self.header) > 2 else ""
        looks = (f' style="{_BOX}"', f' style="{_TABLE}{least}"', f' style="{_CAPTION}{hidden}"')
        box, table, title = looks if styled else ("", f' style="{least[1:]}"' if least else "", "")
        head = "".join(
            f'<th scope="col"{self._look(i, styled, 600)}>{escape(clean(h))}</th>' for i, h in enumerate(self.header)
        )
        body = "".join(self._row_html(i, linked, styled) for i in range(len(self.rows)))
        return (
            f'<div role="region" aria-label="{label}" tabindex="0"{box}><table{table}><caption{title}>{label}</caption>'
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>"
        )

    def _row_html(self, index: int, linked: Collection[str], styled: bool) -> str:
        anchor = self.anchors[index] if self.anchors else ""
        mark = f' id="{anchor}"' if linked and is_anchor(anchor) else ""
        cells = []
        for i, cell in enumerate(self.rows[index]):
            tag, scope = ("th", ' scope="row"') if i == 0 else ("td", "")
            text = cell.to_html(linked) if isinstance(cell, (Ids, Share)) else escape(clean(cell))
            cells.append(f"<{tag}{scope}{self._look(i, styled, 400)}>{text}</{tag}>")
        return f"<tr{mark}>{''.join(cells)}</tr>\n"

    def _look(self, column: int, styled: bool, weight: int) -> str:
        number = column in self.numeric
        if not styled:
            ids = any(isinstance(row[column], Ids) for row in self.rows)
            names = [name for name, holds in (("number", number), ("ids", ids)) if holds]
            return f' class="{" ".join(names)}"' if names else ""
        align = "right;white-space:nowrap;font-variant-numeric:tabular-nums" if number else f"left;{_NARROW}"
        return f' style="{_CELL};font-weight:{weight};text-align:{align}"'

    def to_text(self, width: int | None = None) -> str:
        """Return aligned columns below the caption. Long cells are wrapped where ``width`` characters are too few."""
        plain = [[clean(cell) for cell in row] for row in self.rows]
        table = [[clean(h) for h in self.header], *plain]
        widths = self._widths([max(len(row[i]) for row in table) for i in range(len(self.header))], width)
        lines = [clean(self.caption), *self._text_row(table[0], widths), "  ".join("-" * w for w in widths)]
        for row in plain:
            lines += self._text_row(row, widths)
        return "\n".join(lines)

    def _widths(self, widths: list[int], available: int | None) -> list[int]:
        """Take from the widest text column until the row fits, or nothing is left to take."""
        while available is not None and sum(widths) + 2 * (len(widths) - 1) > available:
            texts = [i for i in range(len(widths)) if i not in self.numeric and widths[i] > _LEAST]
            if not texts:
                break
            widths[max(texts, key=lambda i: widths[i])] -= 1
        return widths

    def _text_row(self, row: Sequence[str], widths: Sequence[int]) -> list[str]:
        wrapped = [textwrap.wrap(cell, max(1, w)) or [""] for cell, w in zip(row, widths, strict=True)]
        lines = []
        for n in range(max(map(len, wrapped))):
            parts = [part[n] if n < len(part) else "" for part in wrapped]
            aligned = [p.rjust(widths[i]) if i in self.numeric else p.ljust(widths[i]) for i, p in enumerate(parts)]
            lines.append("  ".join(aligned).rstrip())
        return lines

    def _repr_html_(self) -> str:
        return self.to_html()

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        """Return the table as text, which a notebook stores beside the HTML."""
        return self.to_text(120)


def join_few(parts: Sequence[str], limit: int = 12) -> str:
    """Return the parts joined by commas; of many, the first ones and how many more there are."""
    shown = [shorten(clean(p), 80) for p in parts[:limit]]
    more = [f"and {len(parts) - limit} more"] if len(parts) > limit else []
    return ", ".join(shown + more)


Fact = tuple[str, str]
"""A name, and what is known of it."""


def known(facts: Iterable[tuple[str, object]]) -> list[Fact]:
    """Return the facts that are known."""
    return [(name, str(value)) for name, value in facts if value is not None and value != ""]
