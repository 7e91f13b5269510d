"""Finds the record that a host is held against: the one that was named, or the newest of this host with speeds."""

from __future__ import annotations

import os
from pathlib import Path

from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.core.home import home
from hwdiag.core.outside import user_path
from hwdiag.record.model import Record
from hwdiag.record.store import FILE, folder_name, load, record_file
from hwdiag.verify.speeds import comparable

MOST_RUNS = 50
"""Newest runs of a host that are looked at for speeds."""


def find_record(named: str | None, name: str | None) -> tuple[Path, Record]:
    """Return the record and its path.

    Args:
        named: a record, its folder, or a folder with one folder a host; None takes outputs/.
        name: the host's folder there; None takes this machine's name.

    Raises:
        UsageError: there is none, or it is damaged.
    """
    place = home() / "outputs" if named is None else user_path(named)
    if name is None and named is not None:
        file = record_file(place)
        if file.is_file() or not place.is_dir():
            return file, load(file)
    of_host = folder_name(name or "auto", os.uname().nodename)
    folder = place / of_host
    if (folder / FILE).is_file():
        return folder / FILE, load(folder / FILE)
    return newest(folder)


def newest(folder: Path) -> tuple[Path, Record]:
    """Return the newest record of a host that has speeds to compare, or the newest of all. Raises ``UsageError``."""
    try:
        runs = sorted((p for p in folder.iterdir() if (p / FILE).is_file()), key=lambda p: p.name, reverse=True)
    except OSError as error:
        raise UsageError(f"no record in {folder}: {error.strerror}; 'hwdiag run' makes one") from None
    first: tuple[Path, Record] | None = None
    why = ""
    for run in runs[:MOST_RUNS]:
        try:
            found = run / FILE, load(run / FILE)
        except HwdiagError as error:
            why = why or str(error)
            continue
        if comparable(found[1]):
            return found
        first = first or found
    if first is None:
        raise UsageError(why or f"no record in {folder}; 'hwdiag run' makes one")
    return first
