"""Ways to start programs, a module each with its ``WAY``. The folder is the list."""

from __future__ import annotations

import importlib
import pkgutil

from hwdiag.tune.way import Way


def ways() -> dict[str, Way]:
    """Return the ways of all modules of this folder, by name."""
    modules = [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
    return {way.name: way for way in sorted((m.WAY for m in modules), key=lambda way: way.name)}
