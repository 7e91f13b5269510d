"""A fleet as a person sees it: one line a host, and a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import get_args

from hwdiag.compare.fleet.model import Fleet, FleetHost, SharedChange
from hwdiag.core.finding import Severity
from hwdiag.core.text import listed, plural
from hwdiag.report.format import clean, utc
from hwdiag.report.page import PagePart, render_page
from hwdiag.report.table import Table

ON_PAGE = 1000
"""Hosts on the page: the file for programs has all."""
REFUSED = 200
WORDS: dict[Severity, tuple[str, str]] = {
    "problem": ("has a problem", "have a problem"),
    "warning": ("has a warning", "have a warning"),
    "note": ("has a note", "have a note"),
}


def verdict(fleet: Fleet) -> str:
    """Return the fleet in a sentence."""
    counts = Counter(host.severity for host in fleet.hosts)
    said = [
        f"{counts[severity]:,} {WORDS[severity][counts[severity] != 1]}"
        for severity in get_args(Severity)
        if counts[severity]
    ]
    alike = "is as its kind" if counts[None] == 1 else "are as their kind"
    fine = f"{counts[None]:,} {alike}" if counts[None] else ""
    return f"Of {plural(len(fleet.hosts), 'host')} {listed([*said, *([fine] if fine else [])])}."


def looked_at(fleet: Fleet) -> str:
    """Return what was looked at, in a sentence."""
    lost = f", {plural(fleet.duplicates, 'record')} there twice" if fleet.duplicates else ""
    refused = f", {plural(len(fleet.refused), 'file')} refused" if fleet.refused else ""
    return (
        f"Looked at {plural(fleet.records, 'record')} and {plural(fleet.verifications, 'verification')} of "
        f"{plural(len(fleet.kinds), 'kind of machine', 'kinds of machines')}{lost}{refused}; "
        f"{plural(fleet.compared, 'speed')} compared."
    )


def host_line(host: FleetHost) -> str:
    """Return one host in one line, its worst first."""
    said = "; ".join(r.text for r in host.remarks) or "as its kind"
    return clean(f"{host.severity or 'fine'} {host.name}: {said} [{host.machine}]")


def lines(fleet: Fleet, most: int) -> Iterator[str]:
    """Yield what the terminal shows: the verdict, the worst hosts, what they share, what could not be read."""
    yield verdict(fleet)
    yield looked_at(fleet)
    remarked = [host for host in fleet.hosts if host.remarks]
    if remarked:
        yield ""
        yield from map(host_line, remarked[:most])
    if len(remarked) > most:
        yield f"... and {plural(len(remarked) - most, 'host')} more (--top {len(remarked)} shows all)"
    if fleet.shared:
        yield ""
        yield from map(shared_text, fleet.shared)
    if fleet.refused:
        yield ""
        yield from (clean(f"refused {r.location}: {r.why}") for r in fleet.refused[:most])
        if len(fleet.refused) > most:
            yield f"... and {plural(len(fleet.refused) - most, 'file')} more"


def shared_text(change: SharedChange) -> str:
    """Return what hosts that became slower have in common."""
    values = f"from {change.then or 'unknown'} to {change.now or 'unknown'}"
    return clean(
        f"{change.slower} of the {plural(change.of_slower, 'host')} that became slower changed {change.what} {values}; "
        f"{change.others} of the {change.of_others:,} others did"
    )


def page(fleet: Fleet) -> str:
    """Return the fleet as one self-contained HTML page."""
    remarked = [host for host in fleet.hosts if host.remarks]
    parts = [
        PagePart("Hosts, the worst first", hosts_intro(remarked), hosts_table(remarked[:ON_PAGE])),
        *([PagePart("What they have in common", "", shared_table(fleet.shared))] if fleet.shared else []),
        PagePart("Kinds of machines", "Hosts with the same CPU, cores, memory and GPUs.", kinds_table(fleet)),
    ]
    if fleet.refused:
        more = f"The first {REFUSED} of {len(fleet.refused):,}." if len(fleet.refused) > REFUSED else ""
        rows = [(r.location, r.why) for r in fleet.refused[:REFUSED]]
        parts.append(PagePart("What could not be read", more, Table("Refused", ("File", "Why"), rows)))
    return render_page("hwdiag: fleet", verdict(fleet), f"{looked_at(fleet)} Made {utc(fleet.made_at)}.", parts)


def hosts_intro(remarked: Sequence[FleetHost]) -> str:
    if not remarked:
        return "Nothing is to be said of any host."
    return f"The first {ON_PAGE:,} of {len(remarked):,} hosts." if len(remarked) > ON_PAGE else ""


def hosts_table(hosts: Sequence[FleetHost]) -> Table:
    rows = [
        (
            h.name,
            h.severity or "fine",
            "; ".join(r.text for r in h.remarks),
            h.machine,
            utc(h.newest) if h.newest else "",
        )
        for h in hosts
    ]
    return Table("Hosts", ("Host", "Is", "Why", "What it is", "Looked at"), rows)


def shared_table(shared: Sequence[SharedChange]) -> Table:
    rows = [
        (
            s.what,
            s.then or "unknown",
            s.now or "unknown",
            f"{s.slower} of {s.of_slower}",
            f"{s.others} of {s.of_others}",
        )
        for s in shared
    ]
    header = ("What changed", "From", "To", "Of hosts that became slower", "Of the others")
    return Table("Changes of hosts that became slower", header, rows, frozenset({3, 4}))


def kinds_table(fleet: Fleet) -> Table:
    rows = [(label, f"{count:,}") for label, count in list(fleet.kinds.items())[:REFUSED]]
    return Table("Kinds", ("What they are", "Hosts"), rows, frozenset({1}))
