"""What holds for every notebook beside diagnose, whose parameters are a host profile's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from hwdiag.workbook import params

pytestmark = pytest.mark.usefixtures("clean_environment")

ROOT = Path(__file__).parents[1]
NOTEBOOKS = [name for name in params.NOTEBOOKS if name != "diagnose"]
MOST_LINES = 4
LOGIC = ("def ", "class ", "for ", "if ")


def code_cells(name: str) -> list[Any]:
    """Those after the parameters."""
    notebook: Any = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    assert notebook.metadata.kernelspec.name == "python3"
    cells = [c for c in notebook.cells if c.cell_type == "code"]
    return [c for c in cells if "parameters" not in c.metadata.get("tags", [])]


def test_every_notebook_is_looked_at_here_and_run_by_make() -> None:
    found = {p.stem for p in (ROOT / "notebooks").glob("*.ipynb")}
    assert found == {*NOTEBOOKS, "diagnose"}
    makefile = (ROOT / "Makefile").read_text()
    assert [name for name in found if f"notebooks/{name}.ipynb" not in makefile] == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_cells_are_short_and_hold_no_logic(name: str) -> None:
    sources = [c.source for c in code_cells(name)]
    assert max(len(source.splitlines()) for source in sources) <= MOST_LINES
    assert not any(word in source for source in sources for word in LOGIC)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_its_committed_outputs_are_whole(name: str) -> None:
    cells = code_cells(name)
    assert all(c.outputs and c.execution_count for c in cells)
    assert not [o for c in cells for o in c.outputs if o.output_type == "error"]


@pytest.mark.parametrize("name", [*NOTEBOOKS, "diagnose"])
def test_it_opens_with_what_it_answers_and_costs_and_where_other_questions_go(name: str) -> None:
    notebook: Any = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    first = notebook.cells[0].source
    assert re.search(r"[Rr]un [Aa]ll [Cc]ells.*(second|minute|as your command)", first)
    others = set(params.NOTEBOOKS) - {name} if name == "diagnose" else {"diagnose"}
    assert [other for other in others if f"({other}.ipynb)" not in first] == []
