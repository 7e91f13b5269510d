"""Kinds of host settings, a module each with its part of the scripts beside it. The folder is the list."""

from __future__ import annotations

import importlib
import pkgutil

from hwdiag.audit.kind import Kind


def kinds() -> tuple[type[Kind], ...]:
    """Return the kinds of all modules of this folder, by name."""
    modules = [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
    found = {c for m in modules for c in vars(m).values() if isinstance(c, type) and c.__module__ == m.__name__}
    return tuple(sorted((c for c in found if issubclass(c, Kind)), key=lambda c: c.name))
