"""Sections of an explanation: a verdict, what is wrong, where the time went, what was looked at, what to try next."""

from __future__ import annotations

import textwrap

from hwdiag.core.text import listed
from hwdiag.explain.model import Explanation, TimeShare
from hwdiag.process.observation.model import ObservedProcess
from hwdiag.report.format import clean, percent, plural, seconds, shorten, size
from hwdiag.report.section import Section
from hwdiag.report.table import Cell, Share, Table

MOST_NAMED = 3
"""Shares of the time that a sentence names."""
LEAST_NAMED = 0.05
MOST_PROCESSES = 20


def verdict(done: Explanation) -> str:
    """Return the worst finding in a sentence; without any, how much was looked at."""
    if done.findings:
        more = len(done.findings) - 1
        rest = f" {plural(more, 'more finding', 'more findings')} below." if more else ""
        return f"{name(done)}: {clean(done.findings[0].title).rstrip('.')}.{rest}"
    fine = sum(c.state == "fine" for c in done.checks)
    unchecked = len(done.checks) - fine
    missed = f"; {plural(unchecked, 'question')} could not be asked" if unchecked else ""
    looked = f"{plural(fine, 'thing')} that {'was' if fine == 1 else 'were'} looked at"
    return f"{name(done)}: nothing wrong in {looked}{missed}."


def name(done: Explanation) -> str:
    """Return what the program is called: its command, or its process."""
    program = done.program
    command = clean(shorten(" ".join(program.command), 60))
    return command if program.pid is None else f"PID {program.pid} ({command})"


def time_words(shares: tuple[TimeShare, ...]) -> str:
    """Return the largest shares of the time as a sentence; nothing where none is known."""
    if not shares:
        return ""
    of, process = shares[0].of, shares[0].process
    first = [s for s in shares if (s.of, s.process) == (of, process) and s.share >= LEAST_NAMED][:MOST_NAMED]
    whose = f", {process}" if process else ""
    return f"Of {of}{whose}: {listed(f'{percent(s.share)} {s.what}' for s in first)}." if first else ""


def findings(done: Explanation) -> Table | None:
    """Return what is wrong, why it matters, and what to do; None where nothing is."""
    rows = [(f.severity, f.title, f.detail) for f in done.findings]
    return Table("What is wrong", ("severity", "what", "why, and what to do"), rows) if rows else None


def findings_text(done: Explanation, width: int | None) -> str:
    """Return what is wrong as numbered paragraphs for a terminal of so many columns; None does not wrap."""
    blocks = []
    for n, f in enumerate(done.findings, 1):
        head = wrapped(f"{n}. {f.severity}: {clean(f.title)}", width, "   ")
        blocks.append("\n".join([head, wrapped(f"   {clean(f.detail)}", width, "   ")] if f.detail else [head]))
    return "\n".join(blocks)


def wrapped(text: str, width: int | None, indent: str) -> str:
    """Return the text in lines of so many columns; commands stay whole."""
    if width is None:
        return text
    return textwrap.fill(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )


def where_the_time_went(done: Explanation) -> Table | None:
    """Return the shares of the time; None where none is known."""
    several = any(s.process for s in done.shares)
    rows: list[tuple[Cell, ...]] = [
        (*((s.process,) if several else ()), s.what, Share(s.share), f"of {s.of}") for s in done.shares
    ]
    header = (*(("process",) if several else ()), "what", "share", "of what")
    return Table("Where the time went", header, rows) if rows else None


def operations(done: Explanation) -> Table | None:
    """Return the operations of PyTorch that took longest; None where none were recorded."""
    rows: list[tuple[Cell, ...]] = []
    for report in done.program.inside:
        if report.traced is None:
            continue
        for o in report.traced.operations[:8]:
            share = Share((o.cpu_s + o.gpu_s) / report.traced.seconds)
            rows.append((f"PID {report.pid}", shorten(clean(o.name), 60), str(o.calls), share))
    header = ("process", "operation", "calls", "of the recorded time")
    return Table("Operations that took longest", header, rows, frozenset({2})) if rows else None


def processes(done: Explanation) -> Table:
    """Return the processes that used most CPU time."""
    ranked = sorted(done.program.processes, key=lambda p: -p.cpu_s)[:MOST_PROCESSES]
    rows = [
        (
            f"{p.pid}",
            clean(shorten(" ".join(p.command), 50) or p.name),
            f"{len(p.allowed)}",
            f"{p.most_threads}",
            cpus_used(p),
            size(max((m.resident_bytes for m in p.memory), default=None)),
        )
        for p in ranked
    ]
    header = ("PID", "command", "CPUs allowed", "threads", "CPUs used", "memory, most")
    return Table("Processes", header, rows, frozenset({0, 2, 3, 4, 5}))


def cpus_used(process: ObservedProcess) -> str:
    """Return how many CPUs the process kept busy, in the mean."""
    took = process.ended_s - process.began_s
    return f"{process.cpu_s / took:.2f}" if took > 0 else "unknown"


def looked_at(done: Explanation) -> Table:
    """Return what was looked at and is in order, and what could not be looked at and why."""
    rows = [("fine" if c.state == "fine" else "not looked at", c.title, c.detail) for c in done.checks]
    return Table("What was looked at besides", ("state", "what", "detail"), rows)


def next_steps(done: Explanation) -> Table | None:
    """Return what to try next, as commands; None where nothing comes to mind."""
    rows = [(s.command, s.why) for s in done.next_steps]
    return Table("What to try next", ("command", "what it does"), rows) if rows else None


def cost(done: Explanation) -> str:
    """Return what the looking took, from outside and from inside, in sentences."""
    c, inside = done.program.cost, sum(r.cost_s for r in done.program.inside)
    told = f"Looking took {c.cpu_s:.2f} s of CPU time, {percent(c.share)} of one core, in {plural(c.looks, 'look')}."
    if not inside:
        return told
    share = percent(inside / done.program.seconds) if done.program.seconds else "unknown"
    return f"{told} Its Python processes spent {inside:.2f} s ({share}) on looking at themselves, recording apart."


def summary(done: Explanation) -> Section:
    """Return the section on what is wrong with the program."""
    return Section(verdict(done), (findings(done), next_steps(done)))


def time(done: Explanation) -> Section:
    """Return the section on where the time went."""
    told = time_words(done.shares) or "Where the time went was not seen."
    return Section(told, (where_the_time_went(done), operations(done)))


def seen(done: Explanation) -> Section:
    """Return the section on what was looked at."""
    fine = sum(c.state == "fine" for c in done.checks)
    program = done.program
    told = (
        f"{plural(len(program.processes), 'process', 'processes')} in {seconds(program.seconds)}: "
        f"{plural(fine, 'question')} without a finding, {len(done.checks) - fine} that could not be asked. "
    )
    return Section(told + cost(done), (processes(done), looked_at(done)))
