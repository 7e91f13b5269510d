"""Section: what one notebook cell shows, a verdict in a sentence and the tables and figures that it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from hwdiag.report.figure import Figure
from hwdiag.report.format import clean
from hwdiag.report.table import Table


@dataclass(frozen=True, repr=False)
class Section:
    """The content of one notebook cell."""

    verdict: str
    parts: tuple[Table | Figure | None, ...]

    @property
    def shown(self) -> Iterator[Table | Figure]:
        """Yield the parts that hold something: a table without rows says nothing that the verdict does not."""
        return (p for p in self.parts if p is not None and (not isinstance(p, Table) or p.rows))

    def _repr_html_(self) -> str:
        verdict = f'<p style="font-size:1.1em;margin:0.6em 0"><strong>{escape(clean(self.verdict))}</strong></p>'
        return verdict + "\n".join(part.to_html() for part in self.shown)

    def __repr__(self) -> str:
        return "\n\n".join([clean(self.verdict), *(str(part) for part in self.shown)])
