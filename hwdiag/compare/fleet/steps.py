"""Steps of ``hwdiag fleet``: locations in, the fleet out."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from hwdiag.compare.fleet.fleet import fleet_of
from hwdiag.compare.fleet.model import Fleet
from hwdiag.compare.steps import index_of, place
from hwdiag.core.errors import UsageError
from hwdiag.core.home import home
from hwdiag.parameters.diagnosis import load_topic
from hwdiag.parameters.fleet import FleetParams
from hwdiag.record import index

load = partial(load_topic, FleetParams)
"""Returns the parameters, checked. Raises ``UsageError`` for an unknown name, or a wrong value."""


@contextmanager
def no_garbage() -> Iterator[None]:
    """Look for no garbage in the block: of millions of objects that all stay it takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def read_fleet(params: FleetParams, keep: Path | None = None) -> Fleet:
    """Return the fleet at these locations.

    Args:
        params: the parameters.
        keep: where what was read is kept for the next time; None takes a file in outputs/.index.

    Raises:
        UsageError: there is nothing at a location, or nothing that can be read.
    """
    here = [name if "://" in name else str(place(name)) for name in params.records] or [str(home() / "outputs")]
    with no_garbage():
        table = index.build_index(here, keep or index_of(here))
        verifications = list(index.verifications(table))
        refused = index.refused(table)
        found = fleet_of(index.rows(table), verifications, refused, min_effect=params.min_effect / 100)
    if not found.hosts:
        why = f"{refused[0].location}: {refused[0].why}" if refused else "no record"
        raise UsageError(f"no host of a fleet: {why}")
    return found
