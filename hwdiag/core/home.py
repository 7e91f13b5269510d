"""Folders of the workbook: where outputs go, and where its notebooks and profiles are."""

from __future__ import annotations

import os
from pathlib import Path

from hwdiag.core.errors import UsageError
from hwdiag.core.outside import user_path

PACKAGE = Path(__file__).resolve().parents[1]
SHIPPED = PACKAGE / "shipped"
"""Holds the notebooks and profiles that come with the package; in a checkout, links to them."""


def home() -> Path:
    """Return the folder that gets outputs/ and may hold params/ and notebooks/ of a person's own.

    It is HWDIAG_HOME; else the checkout that hwdiag is run from; else the present folder, or the one above where that
    is the folder of a workbook's notebooks, as in JupyterLab.

    Raises:
        UsageError: there is no such folder.
    """
    named = os.environ.get("HWDIAG_HOME")
    if named:
        return named_home(named)
    if is_checkout():
        return PACKAGE.parent
    try:
        here = Path.cwd()
    except OSError as error:
        raise UsageError(f"the present folder cannot be used: {error.strerror}; go to another one") from None
    return here.parent if here.name == "notebooks" and (here.parent / "params").is_dir() else here


def named_home(named: str) -> Path:
    """Return the folder that HWDIAG_HOME names. Raises ``UsageError`` where there is none."""
    try:
        path = user_path(named)
        if path.is_dir():
            return path
    except (OSError, ValueError):  # too long, not text
        pass
    raise UsageError(f"HWDIAG_HOME must name a folder, got {named[:100]!r}")


def is_checkout() -> bool:
    """Return whether hwdiag is run from its sources, not from an installed package."""
    return all((PACKAGE.parent / name).exists() for name in ("pyproject.toml", "params", "notebooks"))


def notebook(name: str) -> Path:
    """Return the path of a notebook: the workbook's own where there is one, or the one that comes with the package."""
    own = home() / "notebooks" / f"{name}.ipynb"
    return own if own.is_file() else SHIPPED / "notebooks" / own.name


def profiles() -> dict[str, Path]:
    """Return the host profiles by their names: those in params/, and the others that come with the package."""
    folders = (SHIPPED / "params", home() / "params")
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}
