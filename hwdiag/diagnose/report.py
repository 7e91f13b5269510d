"""The report: everything in a Record on one page, in the order of importance."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwdiag.core.finding import Recommendation
from hwdiag.diagnose.first_screen import actions, asked, heading, record_file, taken_on
from hwdiag.diagnose.topics import TOPICS, sections_of
from hwdiag.experiment.lever import Plan
from hwdiag.process.model import Software
from hwdiag.process.software import ELSEWHERE
from hwdiag.record.model import NOT_PROBED, Record
from hwdiag.record.tuning import recommended_plan, tuning
from hwdiag.report.figure import Figure
from hwdiag.report.format import clean, duration, outcome_text, plural, ratio, size, utc
from hwdiag.report.host_table import core_text, host_table, hypervisor_text
from hwdiag.report.table import Ids, Table, is_anchor
from hwdiag.report.topology import draw_topology
from hwdiag.tune import tables
from hwdiag.tune.settings_file import parts_of

if TYPE_CHECKING:
    from jinja2 import Environment

_SEVERITY_WORDS = {"problem": "Problem", "warning": "Warning", "note": "Note"}


def figures(record: Record) -> tuple[Figure, ...]:
    """Return every figure that the record has data for: the ones in the report, and the SVG files beside it."""
    from hwdiag.report.plots import gains, noise_strips, roofline, search_steps, thread_scaling

    study = tuning(record)
    devices = dict.fromkeys(c.device for c in study.ceilings)
    speeds = (*(roofline(study, d) for d in devices), thread_scaling(record))
    drawn = (gains(record), *speeds, search_steps(record), noise_strips(record))
    return (draw_topology(record.host), *(figure for figure in drawn if figure is not None))


def render_report(record: Record, folder: Path | None = None, *, drawn: Iterable[Figure] | None = None) -> str:
    """Return one self-contained HTML page: no network, no script needed, the same bytes for the same record.

    ``folder``: what the record's files are told from; None where they are not to be shown.
    ``drawn``: the record's figures, where they are drawn already.

    Raises:
        UsageError: a field of a study is wrong.
    """
    study = tuning(record)
    pictures = {figure.name: figure for figure in (figures(record) if drawn is None else drawn)}
    linked = frozenset(m.id for m in study.measurements if is_anchor(m.id))
    topics = [
        (topic, TOPICS[topic].title, record.studies[topic].started_at, list(sections_of(record, topic, folder)))
        for topic in TOPICS
        if topic in record.studies
    ]
    templates = _templates()
    script = templates.get_template("report.js").render()
    return templates.get_template("report.html.j2").render(
        record=record,
        facts=_facts(record),
        meta=_meta(record),
        study=study,
        tuned="tune" in record.studies,
        dates=dates(record),
        actions=actions(record),
        asked=asked(record),
        record_file=record_file(record),
        below=tables.below_ceiling_table(study),
        accuracies=tables.accuracies_table(record),
        files={file.path for file in record.files},
        ids=section_ids(record),
        topics=topics,
        verdict=heading(
            record.verdict or "\n".join(found[0].verdict for _, _, _, found in topics), record.recommendations
        ),
        topology=pictures.pop("topology"),
        gains=pictures.pop("gains", None),
        method=[pictures.pop(name) for name in ("search", "noise") if name in pictures],
        speeds=list(pictures.values()),
        opportunities=[
            _opportunity(record, r, plan)
            for r in record.recommendations
            if (plan := recommended_plan(record, r)) is not None
        ],
        kept=[r for r in record.recommendations if r.plan is None],
        findings=sorted(record.findings, key=lambda f: tables.SEVERITIES.index(f.severity)),
        severity=_SEVERITY_WORDS,
        fine=[c for c in record.checks if c.state == "fine"],
        unchecked=unchecked(record),
        failed=[m for m in study.measurements if not m.outcome.ok],
        tables=tables,
        host_table=host_table,
        engines=tables.engines_table(record),
        linked=linked,
        style=templates.get_template("report.css").render(),
        script=script,
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
    )


@lru_cache(maxsize=1)
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    env = Environment(
        loader=PackageLoader("hwdiag.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(table=_table, figure=_figure, evidence=_evidence, plural=plural, utc=utc, ratio=ratio)
    env.tests["figure"] = lambda part: isinstance(part, Figure)
    return env


def _harmless(value: Any) -> Any:
    """Return what the template writes without control characters, which escaping lets through."""
    from markupsafe import Markup

    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _table(table: Table, linked: Iterable[str]) -> Any:
    """Return a table that escapes its own cells, below a heading that says its caption already."""
    from markupsafe import Markup

    return Markup(table.to_html(frozenset(linked), caption=False, styled=False))


def _figure(figure: Figure) -> Any:
    from markupsafe import Markup

    return Markup(figure.to_html())


def _evidence(ids: tuple[str, ...], linked: Iterable[str]) -> Any:
    """Return ids as links to the measurements."""
    from markupsafe import Markup

    return Markup(Ids(tuple(ids)).to_html(frozenset(linked)))


def section_ids(record: Record) -> set[str]:
    """Return the ids of the sections that an action may be explained by."""
    there = {"opportunities": "tune" in record.studies, "findings": bool(record.findings)}
    return {name for name, is_there in there.items() if is_there} | {t for t in TOPICS if t in record.studies}


def _facts(record: Record) -> list[tuple[str, str]]:
    """Return the few facts beside the picture. All facts are further down."""
    host = record.host
    box = " in ".join(p for p in (host.system.container, hypervisor_text(host)) if p)
    gpus = ", ".join(dict.fromkeys(g.name for g in host.gpus))
    no_gpu = f"none: {host.gpu_note}" if host.gpu_note else "unknown"
    facts = [
        ("Processor", host.cpu.model or "unknown"),
        ("Cores", core_text(host) if host.cpu.online else "unknown"),
        ("Instruction set", host.cpu.isa.level if host.cpu.isa else "unknown"),
        (
            "Memory",
            f"{size(host.memory.total_bytes)}" + (f" on {len(host.numa)} NUMA nodes" if len(host.numa) > 1 else ""),
        ),
        ("GPU", f"{len(host.gpus)} x {gpus}" if len(host.gpus) > 1 else gpus or no_gpu),
        ("System", ", ".join(p for p in (host.system.distribution, host.system.kernel) if p) or "unknown"),
        ("Runs in", box),
        ("PyTorch", _torch(record.software)),
    ]
    return [(name, value) for name, value in facts if value]


def _torch(software: Software) -> str:
    if software.outcome.detail == ELSEWHERE:
        return ELSEWHERE
    if software == NOT_PROBED:
        return ""
    if not software.outcome.ok:
        return outcome_text(software.outcome.kind, software.outcome.detail)
    kernels = f", {software.cpu_capability} kernels" if software.cpu_capability else ""
    return f"{software.torch_version or 'unknown version'}{kernels}"


def _meta(record: Record) -> str:
    """Return the time, the duration and the number of measurements of a run."""
    budget = record.params.get("tune", {}).get("budget")
    count = len(tuning(record).measurements)
    parts = [
        utc(record.started_at),
        duration(record.started_at, record.finished_at),
        plural(count, "measurement") if count else "",
        f"{budget} budget" if isinstance(budget, str) else "",
        f"hwdiag {record.versions['hwdiag']}" if "hwdiag" in record.versions else "",
    ]
    return " · ".join(p for p in parts if p.strip())


def _opportunity(record: Record, r: Recommendation, plan: Plan) -> dict[str, Any]:
    """Return a recommendation with the change that its Plan makes."""
    interval = r.speedup
    return {
        "item": r,
        "gain": ratio(interval.median) if interval else None,
        "interval": f"{ratio(interval.low)[:-1]} to {ratio(interval.high)[:-1]}" if interval else None,
        "pairs": plural(interval.processes, "pair") if interval else None,
        "settings": plan.describe(),
        "steps": list(taken_on(record, r)),
        "means": [f"{part.title}: {part.sentence}" for part in parts_of(plan)],
    }


def unchecked(record: Record) -> dict[str, str]:
    """Return what could not be checked, and why: each once, though several topics missed it."""
    checks = {c.title: c.detail for c in record.checks if c.state == "unchecked"}
    return {gap.what: gap.why for gap in record.host.gaps} | checks


def dates(record: Record) -> list[tuple[str, str]]:
    """Return each study's title and when it was begun, where one is of another run than the record's own."""
    titles = {"tune": "The search for a launch", **{topic: shown.title for topic, shown in TOPICS.items()}}
    began = [(titles[topic], record.studies[topic].started_at) for topic in titles if topic in record.studies]
    return began if any(not record.started_at <= at <= record.finished_at for _, at in began) else []
