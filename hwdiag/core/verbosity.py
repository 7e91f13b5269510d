"""Verbosity: how much ``--quiet`` and ``--verbose`` let a command say beside its result."""

from __future__ import annotations

import sys

QUIET, NORMAL, VERBOSE = -1, 0, 1

_chosen = NORMAL


def choose(quiet: bool, verbose: bool) -> None:
    """Set how much is said from now on."""
    global _chosen
    _chosen = QUIET if quiet else VERBOSE if verbose else NORMAL


def is_quiet() -> bool:
    """Return whether nothing but results and errors is printed."""
    return _chosen == QUIET


def is_verbose() -> bool:
    """Return whether details are printed too."""
    return _chosen == VERBOSE


def tell(text: str) -> None:
    """Print a line about what goes on, on the standard error, unless it shall be quiet."""
    if not is_quiet():
        print(f"hwdiag: {text}", file=sys.stderr, flush=True)
