"""Probes: each module asks one question of an observed program. The folder is the registry.

A probe has a function ``look(case)`` that yields a ``Finding`` for what is wrong, a ``Check`` with state ``fine`` for
what was looked at and is in order, and one with state ``unchecked`` and the reason for what could not be looked at.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module

from hwdiag.explain.model import Answer, Case

Probe = Callable[[Case], Iterator[Answer]]


def probes() -> dict[str, Probe]:
    """Return all probes by the names of their modules."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__))
    return {name: import_module(f"{__name__}.{name}").look for name in names}


def ask(case: Case) -> tuple[Answer, ...]:
    """Return what all probes say of the program."""
    return tuple(answer for look in probes().values() for answer in look(case))
