"""Paths of the workbook's folders. The working directory is never asked: papermill, JupyterLab and nbval differ in
it."""

from __future__ import annotations

import os
from pathlib import Path

from hwdiag.core.errors import UsageError


def home() -> Path:
    """Return the folder that holds params/, notebooks/ and outputs/: HWDIAG_HOME, or the checkout that hwdiag is run
    from.

    Raises:
        UsageError: neither holds a params folder.
    """
    named = os.environ.get("HWDIAG_HOME")
    path = Path(named).expanduser() if named else Path(__file__).resolve().parents[2]
    if not (path / "params").is_dir():
        hint = "HWDIAG_HOME must name" if named else "install hwdiag with 'pip install -e .', or set HWDIAG_HOME to"
        raise UsageError(f"no params folder in {path}: {hint} a checkout of hwdiag")
    return path
