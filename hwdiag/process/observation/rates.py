"""Rates of a recording's heavy operations, beside what the same operations and this host reach by themselves.

The program has ended then. A child of its interpreter computes with nothing in its environment that libraries read, so
that what it reaches is what the host and this torch can; where the program is far from that, another child is asked
with the program's own variables.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from hwdiag.process.heavy_operations import HeavyOperation
from hwdiag.process.observation.inside_model import InsideReport, OperationRate, ReachedRates
from hwdiag.process.observation.repeated import TYPES, fits, run_again, task_of

HEAVY = 0.1
"""Share of the recorded time from which on an operation counts."""
LEAST_S, LEAST_FLOP = 2e-4, 1e7
"""Of one call. Of less the time is that of calling and recording it."""
MOST = 3
FAR = 3.0
"""Times as slow as by itself, from which on it is asked why."""
READ = re.compile(
    r"(OMP|GOMP|KMP|MKL|ONEDNN|DNNL|ATEN|OPENBLAS|TORCH|PYTORCH|MALLOC|HWDIAG)_\w+|TORCHINDUCTOR\w*|LD_PRELOAD"
    r"|GLIBC_TUNABLES|PYTHONMALLOC"
)
"""Names of variables that decide how operations are computed."""


def reached_rates(report: InsideReport, is_over: Callable[[], bool]) -> ReachedRates | None:
    """Return the rates of a process's heavy operations beside those of this host; None where none is heavy."""
    chosen, threads = heavy(report), report.facts.get("threads")
    if not chosen or not report.python or not isinstance(threads, int) or threads < 1:
        return None
    task = {
        "threads": threads,
        "types": sorted({o.types[0] for o in chosen}),
        "operations": [task_of(o, {}) for o in chosen],
    }
    told = report.facts.get("environment")
    theirs = {k: v for k, v in told.items() if READ.fullmatch(k)} if isinstance(told, dict) else {}
    plain = {k: v for k, v in os.environ.items() if not READ.fullmatch(k)}
    found = read(run_again(report.python, task, plain, is_over), chosen, threads)
    if found is None or not theirs or not any(r.factor(found.bytes_rate) >= FAR for r in found.operations):
        return found
    again = read(run_again(report.python, task, {**plain, **theirs}, is_over), chosen, threads)
    return found if again is None else found.model_copy(update={"operations": tuple(joined(found, again))})


def heavy(report: InsideReport) -> list[HeavyOperation]:
    """Return the operations on the CPU that are worth a look, the longest first."""
    if report.traced is None or report.traced.gpus:
        return []
    worth = [
        o
        for o in report.traced.heavy
        if o.seconds >= HEAVY * report.traced.seconds
        and o.median_s >= LEAST_S
        and o.flop >= LEAST_FLOP
        and o.types[0] in TYPES
        and fits(o)
    ]
    return sorted(worth, key=lambda o: -o.seconds)[:MOST]


def read(said: str, chosen: Sequence[HeavyOperation], threads: int) -> ReachedRates | None:
    """Return the answers in what the child printed; None where it did not come to an end."""
    host: Mapping[str, object] | None = None
    seconds: dict[int, float] = {}
    for line in said.splitlines():
        try:
            told = json.loads(line) if line.startswith("{") else {}
            if "cpus" in told:
                host = told
            elif "number" in told:
                seconds[int(told["number"])] = float(told["seconds"])
        except (ValueError, TypeError, KeyError):
            continue
    if host is None or not seconds:
        return None
    rates = [(o, seconds[n]) for n, o in enumerate(chosen) if n in seconds]
    return ReachedRates.model_validate(
        {
            "cpus": host["cpus"],
            "threads": threads,
            "flop_rates": host["flops"],
            "bytes_rate": host["bytes"],
            "operations": tuple(rate(o, alone) for o, alone in rates),
        }
    )


def rate(operation: HeavyOperation, alone_s: float) -> OperationRate:
    """Return one operation's time in the program beside that by itself."""
    return OperationRate(
        name=operation.name,
        dims=", ".join("x".join(map(str, d)) for d in operation.dims if d),
        dtype=operation.types[0],
        flop=operation.flop,
        bytes=operation.bytes,
        seconds=operation.median_s,
        total_s=operation.seconds,
        alone_s=alone_s,
    )


def joined(found: ReachedRates, again: ReachedRates) -> Iterator[OperationRate]:
    """Yield the operations with what they take under the program's variables."""
    theirs = {(r.name, r.dims, r.dtype): r.alone_s for r in again.operations}
    for r in found.operations:
        yield r.model_copy(update={"with_variables_s": theirs.get((r.name, r.dims, r.dtype))})
