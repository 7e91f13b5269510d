"""The report: everything in a Record on one page, in the order of importance."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from hwdiag.advise.model import Recommendation
from hwdiag.emit.launch_script import script_path
from hwdiag.experiment.lever import BASELINE, plan_by_id
from hwdiag.measure.model import Software
from hwdiag.measure.software import ELSEWHERE
from hwdiag.record.model import Record
from hwdiag.show import tables
from hwdiag.show.audit import chosen_table, settings
from hwdiag.show.compat import packages_table
from hwdiag.show.figure import Figure
from hwdiag.show.format import clean, duration, plural, ratio, size, utc
from hwdiag.show.host_table import core_words, host_table, hypervisor_words
from hwdiag.show.table import Ids, Table, is_anchor
from hwdiag.show.topology import draw_topology

if TYPE_CHECKING:
    from jinja2 import Environment

_SEVERITY_WORDS = {"problem": "Problem", "warning": "Warning", "note": "Note"}


def figures(record: Record) -> tuple[Figure, ...]:
    """Every figure that the record has data for: the ones in the report, and the SVG files beside it."""
    from hwdiag.show.plots import gains, noise_strips, roofline, search_steps, thread_scaling

    devices = dict.fromkeys(c.device for c in record.ceilings)
    speeds = (*(roofline(record, d) for d in devices), thread_scaling(record))
    drawn = (gains(record), *speeds, search_steps(record), noise_strips(record))
    return (draw_topology(record.host), *(figure for figure in drawn if figure is not None))


def render_report(record: Record) -> str:
    """One self-contained HTML page: no network, no script needed, the same bytes for the same record."""
    drawn = {figure.name: figure for figure in figures(record)}
    linked = frozenset(m.id for m in record.measurements if is_anchor(m.id))
    templates = _templates()
    script = templates.get_template("report.js").render()
    return templates.get_template("report.html.j2").render(
        record=record,
        facts=_facts(record),
        meta=_meta(record),
        topology=drawn.pop("topology"),
        gains=drawn.pop("gains", None),
        method=[drawn.pop(name) for name in ("search", "noise") if name in drawn],
        speeds=list(drawn.values()),
        opportunities=[_opportunity(record, r) for r in record.recommendations if r.plan is not None],
        kept=[r for r in record.recommendations if r.plan is None],
        findings=sorted(record.findings, key=lambda f: tables.SEVERITIES.index(f.severity)),
        severity=_SEVERITY_WORDS,
        fine=[c for c in record.checks if c.state == "fine"],
        unchecked=[c for c in record.checks if c.state == "unchecked"],
        failed=[m for m in record.measurements if not m.outcome.ok],
        settings=settings(record.audit) if record.audit else None,
        chosen=chosen_table(record.audit) if record.audit else None,
        tables=tables,
        host_table=host_table,
        engines=tables.engines_table(record),
        compatibility=packages_table(record.compatibility) if record.compatibility else None,
        linked=linked,
        style=templates.get_template("report.css").render(),
        script=script,
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
    )


@lru_cache(maxsize=1)
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    env = Environment(
        loader=PackageLoader("hwdiag.show"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(table=_table, figure=_figure, evidence=_evidence, plural=plural, utc=utc)
    return env


def _harmless(value: Any) -> Any:
    """Everything that the template writes: escaping does not stop control characters, this does."""
    from markupsafe import Markup

    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _table(table: Table, linked: Iterable[str]) -> Any:
    """A table of ours, which escapes its own cells, below a heading that says its caption already."""
    from markupsafe import Markup

    return Markup(table.to_html(frozenset(linked), caption=False, styled=False))


def _figure(figure: Figure) -> Any:
    from markupsafe import Markup

    return Markup(figure.to_html())


def _evidence(ids: tuple[str, ...], linked: Iterable[str]) -> Any:
    """Ids as links to the measurements."""
    from markupsafe import Markup

    return Markup(Ids(tuple(ids)).to_html(frozenset(linked)))


def _facts(record: Record) -> list[tuple[str, str]]:
    """The few facts beside the picture; all of them are further down."""
    host = record.host
    box = " in ".join(p for p in (host.system.container, hypervisor_words(host)) if p)
    gpus = ", ".join(dict.fromkeys(g.name for g in host.gpus))
    facts = [
        ("Processor", host.cpu.model or "unknown"),
        ("Cores", core_words(host)),
        ("Instruction set", host.cpu.isa.level if host.cpu.isa else "unknown"),
        (
            "Memory",
            f"{size(host.memory.total_bytes)}" + (f" on {len(host.numa)} NUMA nodes" if len(host.numa) > 1 else ""),
        ),
        ("GPU", f"{len(host.gpus)} x {gpus}" if len(host.gpus) > 1 else gpus or f"none: {host.gpu_note or 'unknown'}"),
        ("System", ", ".join(p for p in (host.system.distribution, host.system.kernel) if p) or "unknown"),
        ("Runs in", box),
        ("PyTorch", _torch(record.software)),
    ]
    return [(name, value) for name, value in facts if value]


def _torch(software: Software) -> str:
    if software.outcome.detail == ELSEWHERE:
        return ELSEWHERE
    if not software.outcome.ok:
        return tables.outcome_words(software.outcome.kind, software.outcome.detail)
    kernels = f", {software.cpu_capability} kernels" if software.cpu_capability else ""
    return f"{software.torch_version or 'unknown version'}{kernels}"


def _meta(record: Record) -> str:
    """When, how long and how much."""
    budget = record.params.get("budget")
    parts = [
        utc(record.started_at),
        duration(record.started_at, record.finished_at),
        plural(len(record.measurements), "measurement"),
        f"{budget} budget" if isinstance(budget, str) else "",
        f"hwdiag {record.versions.get('hwdiag', '')}",
    ]
    return " · ".join(p for p in parts if p.strip())


def _opportunity(record: Record, r: Recommendation) -> dict[str, Any]:
    """A recommendation with what to do, taken from its Plan."""
    plan = plan_by_id(record.plans, r.plan or BASELINE)
    script = next((f.path for f in record.files if f.path == script_path(r)), None)
    command = f"{script} -- python your_program.py" if script else None
    interval = r.speedup
    return {
        "item": r,
        "gain": ratio(interval.median) if interval else None,
        "interval": f"{ratio(interval.low)[:-1]} to {ratio(interval.high)[:-1]}" if interval else None,
        "pairs": plural(interval.processes, "pair") if interval else None,
        "settings": plan.launch.describe(),
        "command": command,
    }
