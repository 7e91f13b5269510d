"""Plans that are all today's way, under names of their own: what they seem to gain over each other is noise."""

from __future__ import annotations

from hwdiag.experiment.lever import Lever, Plan


def twins(count: int) -> list[Plan]:
    """Return so many of them."""
    return [Plan.of(Lever(id=f"twin{n}", factor="twin", title=f"today's way, {n}")) for n in range(1, count + 1)]
