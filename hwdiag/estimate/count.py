"""Counting a net's operations in a child that has torch: the parent's side."""

from __future__ import annotations

from collections.abc import Sequence

from hwdiag.errors import HwdiagError, UsageError
from hwdiag.estimate.children import run_inside
from hwdiag.estimate.model import Count, NetSpec

TIMEOUT_S = 60.0
"""For each net, and once for starting."""


def count_nets(python: str, specs: Sequence[NetSpec], *, timeout_s: float | None = None) -> tuple[Count, ...]:
    """Count each net, all in one child of the interpreter ``python``.

    Raises:
        UsageError: a net is not known, cannot be built, or cannot be counted: with data-dependent control flow, or
            operations of unknown cost that matter.
        HwdiagError: the child died.
    """
    task = {"do": "count", "specs": [spec.model_dump() for spec in specs]}
    report = run_inside(python, task, timeout_s=timeout_s or TIMEOUT_S * (1 + len(specs)))
    counts = []
    for n, spec in enumerate(specs):
        done = next((e for e in report.events if e.get("index") == n), None)
        if done is None:
            raise HwdiagError(f"{spec.net} was not counted: {report.outcome.detail or 'the child ended early'}")
        if done["event"] == "failed":
            raise UsageError(f"{spec.net} cannot be counted: {done['detail']}")
        about = {"spec": spec, "took_s": done["took_s"], "cpu_s": done["cpu_s"], "peak_rss_bytes": done["peak_rss"]}
        counts.append(Count.model_validate({**done["found"], **about}))
    return tuple(counts)
