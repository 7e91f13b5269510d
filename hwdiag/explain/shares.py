"""Shares of the program's time by what it went to, by the best instrument that saw it."""

from __future__ import annotations

from collections.abc import Iterator

from hwdiag.explain.model import Case, TimeShare
from hwdiag.process.observation.inside_model import INPUT, KINDS
from hwdiag.process.observation.model import InsideReport, ObservedProcess, Program
from hwdiag.process.observation.waiting_model import DOING, TrainingWaits
from hwdiag.process.trace import CAUSES
from hwdiag.report.format import clean

COMPILING = 0.3
"""Share of the time from which on a program that came to no loop is one that compiles."""
LEAST = 0.005
"""Shares below are left out."""


def shares(case: Case) -> tuple[TimeShare, ...]:
    """Return where the time of each computing process went, the largest share first."""
    found = [(process, list(shares_of(process, case.program))) for process in case.computing]
    several = sum(bool(of_one) for _, of_one in found) > 1
    return tuple(
        share.model_copy(update={"process": called(process, case.program) if several else ""})
        for process, of_one in found
        for share in sorted(of_one, key=lambda s: -s.share)
        if share.share >= LEAST
    )


def called(process: ObservedProcess, program: Program) -> str:
    """Return what a process is called: its rank, where it has one."""
    report = report_of(process, program)
    return f"PID {process.pid}" if report is None or report.rank is None else f"rank {report.rank}"


def with_collectives(report: InsideReport) -> dict[str, float]:
    """Return the shares of the loop with the time in collectives told apart.

    A backward pass of DDP waits for them in C++, which its stack does not show and the trace does.
    """
    shares = dict(report.loop.shares) if report.loop else {}
    waited = report.traced.cpu.get("communication", 0.0) if report.traced else 0.0
    hidden = min(shares.get("backward", 0.0), max(0.0, waited - shares.get("collective", 0.0)))
    if hidden >= LEAST:
        shares["backward"] -= hidden
        shares["collective"] = shares.get("collective", 0.0) + hidden
    return shares


def shares_of(process: ObservedProcess, program: Program) -> Iterator[TimeShare]:
    """Yield the shares of one process: of its loop by its stacks, of its trace, or of the looks at its main thread."""
    report = report_of(process, program)
    waited = waited_of(process, program)
    if report is not None and report.loop is not None:
        for kind, share in with_collectives(report).items():
            yield TimeShare(what=kind_words(kind), share=share, of="the time of its loop")
    elif (
        report is not None and (kinds := report.before) and kinds.get("compile", 0.0) >= COMPILING * sum(kinds.values())
    ):
        for kind, spent in kinds.items():
            yield TimeShare(
                what=kind_words(kind), share=spent / sum(kinds.values()), of="the time from importing torch"
            )
    elif report is not None and report.traced is not None:
        for cause, share in report.traced.cpu.items():
            yield TimeShare(what=CAUSES[cause], share=share, of="the recorded time")
    elif waited is not None:
        without_cpu = min(waited.for_a_cpu or 0.0, waited.shares.get("computes", 0.0))
        yield TimeShare(what="waiting for a CPU", share=without_cpu)
        for doing, share in waited.shares.items():
            yield TimeShare(what=DOING[doing], share=share - (without_cpu if doing == "computes" else 0.0))
    if report is not None and report.traced is not None:
        for gpu in report.traced.gpus:
            yield TimeShare(what=f"GPU {gpu.index} at work", share=gpu.busy, of="the recorded time")


def kind_words(kind: str) -> str:
    """Return what a stack was in, in words."""
    place = kind.removeprefix(f"{INPUT}: ")
    return KINDS.get(kind) or f"loading data in {clean(place)}"


def report_of(process: ObservedProcess, program: Program) -> InsideReport | None:
    """Return what this process said of itself, the report with a trace first; None where it said nothing."""
    reports = [r for r in program.inside if r.pid == process.pid]
    return max(reports, key=lambda r: r.traced is not None, default=None)


def waited_of(process: ObservedProcess, program: Program) -> TrainingWaits | None:
    """Return what this process's main thread was seen to wait for; None where nobody looked."""
    return next((w for w in program.waits if w.pid == process.pid), None)
