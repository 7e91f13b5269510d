"""What the notebooks call: parameters in, a Run to walk through, a summary out. Their cells hold no logic."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hwdiag.errors import NothingMeasuredError
from hwdiag.home import home
from hwdiag.params import Params, load, profile_names, refuse_unknown
from hwdiag.pipeline import Replay, Run
from hwdiag.show.progress import notebook_progress
from hwdiag.show.summary import Summary
from hwdiag.show.widgets import ProfileChooser


def parameters(namespace: Mapping[str, Any]) -> ProfileChooser:
    """Check the parameters that the notebook's first cells set; in JupyterLab, offer widgets to change them.

    Args:
        namespace: the notebook's ``globals()``.

    Raises:
        UsageError: an unknown parameter, host or value.
    """
    if replayed() is not None:
        return ProfileChooser(Replay(replay_path()).profile, (), load)
    given = given_parameters(namespace)
    chosen = next((v for v in namespace.values() if isinstance(v, ProfileChooser) and v.given == given), None)
    # Who chooses in the menus and then runs the cell again, or all cells, means to keep the choice.
    return chosen or ProfileChooser(load(given), profile_names(), load, given)


def given_parameters(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the parameters cell and of the one that papermill injects, as their names stand in ``namespace``.

    papermill only warns of a name that the notebook does not have, so the names are read from the cells themselves.
    """
    names = list(dict.fromkeys(name for cell in namespace.get("In", ()) for name in assigned_names(cell)))
    refuse_unknown(names, Params.model_fields)
    return {name: namespace[name] for name in names}


def assigned_names(cell: str) -> Iterable[str]:
    """Names that a cell of nothing but assignments gives a value; none for any other cell."""
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


def start(choice: ProfileChooser) -> Run:
    """Begin a run with the chosen profile; with HWDIAG_REPLAY set, walk through that record instead."""
    if replayed() is not None:
        return Replay(replay_path())
    return Run(choice.profile, progress=notebook_progress())


def replayed() -> str | None:
    """The value of HWDIAG_REPLAY: a record, or its folder, that is shown in place of a run."""
    return os.environ.get("HWDIAG_REPLAY") or None


def replay_path() -> Path:
    """The record to replay; a relative path is looked for from here, then from the workbook's folder."""
    path = Path(replayed() or "")
    return path if path.exists() or path.is_absolute() else home() / path


def finish(run: Run) -> Summary:
    """Write the report and the record; gives the summary.

    Raises:
        NothingMeasuredError: the facts are recorded, but nothing could be measured. Of a snapshot nothing ever is.
    """
    record = run.finish()
    summary = Summary(record, run.folder)
    if record.host.is_here and not any(m.outcome.ok for m in record.measurements):
        raise NothingMeasuredError(f"{record.verdict} The facts are in {summary.as_dict()['report']}")
    return summary
