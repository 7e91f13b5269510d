"""Probe of the rates that the program's heaviest operations reach, against this host's."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hwdiag.core.finding import Check, Finding
from hwdiag.core.text import listed, plural
from hwdiag.explain.cpu_use import WAITED, cpu_use
from hwdiag.explain.model import Answer, Case
from hwdiag.explain.probes.kernels import SLOWER
from hwdiag.process.observation.inside_model import InsideReport, OperationRate, ReachedRates
from hwdiag.process.observation.rates import FAR, READ
from hwdiag.report.format import clean, count, percent, said, seconds

TYPES = {"float": "float32", "double": "float64", "c10::BFloat16": "bfloat16", "c10::Half": "float16"}
TITLE = "Whether its heavy operations reach this host's rates"


def look(case: Case) -> Iterator[Answer]:
    """Yield how near its heavy operations come to what this host reaches, and why they do not.

    What the probe ``kernels`` tells of its data and types is not told again.
    """
    report = next((r for r in case.program.inside if r.rates is not None), None)
    if report is None or report.rates is None:
        return
    rates, waited = report.rates, cpu_use(case).wait_share
    if waited is not None and waited >= WAITED:
        why = f"its threads waited for a CPU {percent(waited)} of the time in which they could run, which slows them"
        yield Check(id="rates", state="unchecked", title=TITLE, detail=why)
        return
    told = {(r.name, r.dims) for r in report.repeated if r.seconds >= SLOWER * (r.flushed_s or r.float32_s or math.inf)}
    far = [r for r in rates.operations if factor(case, report, r) >= FAR and (r.name, r.dims) not in told]
    if not far:
        yield Check(
            id="rates",
            state="fine",
            title="Its heavy operations are about as fast as they are by themselves on this host",
            detail=f"{'; '.join(reached(r, rates) for r in rates.operations)}. {source(rates)}",
        )
        return
    worst = max(far, key=lambda r: r.total_s)
    cause, remedy = why_far(report, worst)
    yield Finding(
        id=f"slow-operations:{report.pid}",
        severity="warning",
        title=f"{operation(worst)} takes {seconds(worst.seconds)} a call in it and {seconds(worst.alone_s)} by itself "
        f"on this host{cause}",
        detail=f"{reached(worst, rates)}. {source(rates)} {remedy}",
        evidence=("program.inside",),
    )


def factor(case: Case, report: InsideReport, rate: OperationRate) -> float:
    """Return how many times as slow as by itself an operation is; those beside it read from the same memory."""
    rates, traced = report.rates, report.traced
    assert rates is not None
    threads = sum(share >= 0.2 for share in traced.threads.values()) if traced else 1
    return rate.factor(rates.bytes_rate / max(1, threads, len(case.computing)))


def why_far(report: InsideReport, rate: OperationRate) -> tuple[str, str]:
    """Return why an operation is slow in the program, as the end of a sentence, and what to do."""
    told = report.facts.get("environment")
    if isinstance(told, dict) and rate.with_variables_s is not None and 2 * rate.with_variables_s >= rate.seconds:
        names = [n for n in told if READ.fullmatch(n) and not n.startswith("HWDIAG")]
        return (
            f", and {seconds(rate.with_variables_s)} with the variables that it was started with",
            f"One of them makes it slow: {listed(f'{n}={clean(str(told[n]))[:60]}' for n in names)}. Take them away, "
            f"one by one: 'env {' '.join(f'-u {n}' for n in names)} ...'.",
        )
    if report.facts.get("mkldnn") is False:
        return (
            ": oneDNN is turned off in it",
            "Take 'torch.backends.mkldnn.enabled = False' (or 'mkldnn.flags(enabled=False)') out of the program.",
        )
    if report.facts.get("deterministic") is True:
        return (
            ": deterministic algorithms are asked for",
            "'torch.use_deterministic_algorithms(True)' forbids faster ones: keep it for comparing runs.",
        )
    return (
        "",
        "The variables that it was started with are not the reason. Possible: values that are subnormal, infinite "
        "or not a number, inputs that are not contiguous ('.contiguous()', one memory format for net and data), "
        "memory that is allocated again for each result, or what else the program does meanwhile.",
    )


def operation(rate: OperationRate) -> str:
    """Return an operation with its sizes and type."""
    return f"{clean(rate.name)} ({clean(rate.dims)}, {TYPES.get(rate.dtype, clean(rate.dtype))})"


def reached(rate: OperationRate, rates: ReachedRates) -> str:
    """Return an operation's rate in the program, and what share of the host's ceiling that is."""
    flops, most = rate.flop / rate.seconds, rates.flop_rates.get(rate.dtype, 0.0)
    bound = f", {percent(flops / most)} of the {flop_words(most)} of a large product" if most else ""
    moved, near = rate.bytes / rate.seconds, rate.bytes / rates.bytes_rate > rate.flop / most if most else False
    read = f" (it reads {said(moved, 'B/s')} of {said(rates.bytes_rate, 'B/s')} of a copy)" if near else ""
    return f"{operation(rate)} reaches {flop_words(flops)}{bound}{read}"


def flop_words(rate: float) -> str:
    """Return a rate of floating-point operations: ``25 GFLOP/s``."""
    return f"{count(rate)}FLOP/s" if rate >= 1000 else f"{rate:.3g} FLOP/s"


def source(rates: ReachedRates) -> str:
    """Return where the ceilings are from."""
    return (
        f"Measured when it had ended, in a process of its own: the ceilings on {plural(rates.cpus, 'CPU')}, operations "
        f"with the program's {plural(rates.threads, 'thread')}."
    )
