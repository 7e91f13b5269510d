"""Tables on a terminal: in colour and as wide as it is; plain where the output goes to a file or a program."""

from __future__ import annotations

import sys
from typing import TextIO

from hwdiag.report.format import clean
from hwdiag.report.table import Table


def drawn(table: Table, stream: TextIO | None = None) -> str:
    """Return a table as text for a stream, by default the output.

    For a terminal rich draws it, which heeds NO_COLOR and TERM; it is imported there alone.
    """
    stream = stream or sys.stdout
    if not stream.isatty():
        return table.to_text()
    from rich import box
    from rich.console import Console
    from rich.table import Table as Drawing
    from rich.text import Text

    drawing = Drawing(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for i, name in enumerate(table.header):
        drawing.add_column(Text(clean(name)), justify="right" if i in table.numeric else "left", overflow="fold")
    for row in table.rows:
        drawing.add_row(*(Text(clean(cell)) for cell in row))
    console = Console(file=stream, highlight=False)
    with console.capture() as text:
        console.print(Text(clean(table.caption), style="bold cyan"), drawing, sep="")
    return "\n".join(line.rstrip() for line in text.get().rstrip().splitlines())
