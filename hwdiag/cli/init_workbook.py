"""A workbook of a person's own: the notebooks and profiles that come with the package, to edit."""

from __future__ import annotations

import shutil
from pathlib import Path

from hwdiag.core.errors import HwdiagError
from hwdiag.core.home import SHIPPED


def lay_out(folder: Path) -> tuple[list[Path], list[Path]]:
    """Copy notebooks/ and params/ into a folder; return the files that were written, and those that were there already.

    Raises:
        HwdiagError: something cannot be written.
    """
    written, kept = [], []
    for source in sorted((*SHIPPED.glob("notebooks/*.ipynb"), *SHIPPED.glob("params/*.yaml"))):
        path = folder / source.relative_to(SHIPPED)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as text, path.open("xb") as copy:
                shutil.copyfileobj(text, copy)
        except FileExistsError:
            kept.append(path)
        except OSError as error:
            raise HwdiagError(f"cannot write {path}: {error.strerror}") from None
        else:
            written.append(path)
    return written, kept
