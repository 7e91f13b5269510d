"""Values that a notebook's own cells set, and the record that is shown in place of a run."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hwdiag.core.home import home


def given_parameters(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the parameters cell and of the one that papermill injects, as their names stand in
    ``namespace``.

    papermill only warns of a name that the notebook does not have, so the names are read from the cells themselves.
    """
    names = dict.fromkeys(name for cell in namespace.get("In", ()) for name in assigned_names(cell))
    return {name: namespace.get(name) for name in names}


def assigned_names(cell: str) -> Iterable[str]:
    """Return the names that a cell of nothing but assignments gives a value; none for any other cell."""
    try:
        statements = ast.parse(cell).body
    except SyntaxError:  # a cell with magics
        return ()
    targets = [
        *(s.target for s in statements if isinstance(s, ast.AnnAssign)),
        *(t for s in statements if isinstance(s, ast.Assign) for t in s.targets),
    ]
    only_assignments = all(isinstance(s, ast.Assign | ast.AnnAssign) for s in statements)
    return [t.id for t in targets if isinstance(t, ast.Name)] if only_assignments else ()


def replayed() -> str | None:
    """Return the value of HWDIAG_REPLAY, which names a record or its folder to show in place of a run."""
    return os.environ.get("HWDIAG_REPLAY") or None


def replay_path() -> Path:
    """Return the record to replay. A relative path is looked for from here, then from the workbook's folder."""
    path = Path(replayed() or "")
    return path if path.exists() or path.is_absolute() else home() / path


def replay_folder() -> Path:
    """Return the folder that holds the record to replay. Records of other notebooks lie beside it."""
    path = replay_path()
    return path if path.is_dir() else path.parent


def one_line_interrupts() -> None:
    """Make the stop button end a cell with one line, in place of a traceback of everything that was running."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None:
        shell.set_custom_exc((KeyboardInterrupt,), show_interrupt)


def show_interrupt(shell: Any, kind: type[BaseException], error: BaseException, *_: Any, **__: Any) -> list[str]:
    """Show an interruption in IPython, and return the lines that were shown."""
    lines = ["hwdiag: interrupted; nothing is left running"]
    shell._showtraceback(kind, error, lines)
    return lines
