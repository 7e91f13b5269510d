"""A page of sections: one self-contained HTML file in the looks of the report, without a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from hwdiag.report.format import clean
from hwdiag.report.table import Table

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class PagePart:
    """One section of a page."""

    title: str
    intro: str
    table: Table


def render_page(title: str, verdict: str, meta: str, parts: Sequence[PagePart]) -> str:
    """Return one HTML page: no network, no script. All text is escaped."""
    from markupsafe import Markup

    templates = _templates()
    shown = [
        (clean(part.title), clean(part.intro), Markup(part.table.to_html(caption=False, styled=False)))
        for part in parts
    ]
    return templates.get_template("page.html.j2").render(
        title=clean(title),
        verdict=clean(verdict),
        meta=clean(meta),
        parts=shown,
        style=templates.get_template("report.css").render(),
    )


@lru_cache(maxsize=1)
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("hwdiag.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
