"""The audit: every entry of ``audit.knobs`` against one host. What is set, what would be, why, and what is chosen."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator

from hwdiag.audit.kind import Kind
from hwdiag.audit.knobs import BY_ID, KNOBS
from hwdiag.audit.knobs.model import Knob, KnobCase
from hwdiag.audit.model import Audit, Row, State
from hwdiag.audit.tuned import active_profiles
from hwdiag.core.choices import Role
from hwdiag.core.errors import UsageError
from hwdiag.core.finding import Check, Finding
from hwdiag.core.text import capitalised, listed
from hwdiag.experiment.model import Measurement
from hwdiag.host.activity import Activity
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.host.settings import Setting
from hwdiag.process.storage import ReadSpeed
from hwdiag.process.symptoms import Seen, answers, file_system, symptoms, tuners

Reading = dict[str, tuple[Setting, ...]]
"""What was found, by entry."""


def read_everything(root: Root, host: Host) -> tuple[Reading, dict[str, str]]:
    """Return all settings by entry, and the value of everything that was read by its place."""
    cache: dict[Kind, tuple[Setting, ...]] = {}

    def read(source: Kind) -> tuple[Setting, ...]:
        if source not in cache:
            cache[source] = tuple(source.read(root, host))
        return cache[source]

    found = {knob.id: read(knob.source) for knob in KNOBS}
    for knob in KNOBS:
        for source in knob.beside:
            read(source)
    others = {s.where: s.now for settings in cache.values() for s in settings if s.now is not None}
    return found, others


def audit(
    root: Root,
    host: Host,
    *,
    role: Role = "headless",
    knobs: Iterable[str] = (),
    activity: Activity | None = None,
    models: str | None = None,
    read: ReadSpeed | None = None,
    measurements: tuple[Measurement, ...] = (),
) -> Audit:
    """Return the audit of this host: every entry against its settings.

    Args:
        root: the machine that ``host`` was read from.
        host: its facts.
        role: what else it does.
        knobs: what the person chose: ids, groups, or ``id=value``.
        activity: what the machine was doing while it was watched.
        models: folder that models are loaded from.
        read: how fast a file there was read.
        measurements: of this host, where there are some.

    Raises:
        UsageError: ``knobs`` names what is not known, a value that the entry does not take, or two that exclude each
            other.
    """
    choice = parse_choice(knobs)
    found, others = read_everything(root, host)
    seen = Seen(
        host=host,
        activity=activity or Activity(),
        others=others,
        tuners=tuners(root),
        folder=file_system(root, models) if models else None,
        read=read,
        measurements=measurements,
    )
    said = answers(seen)
    facts = symptoms(said)
    rows: list[Row] = []
    for knob in KNOBS:
        cases = (
            KnobCase(host, role, s, value=choice.get(knob.id), others=others, symptoms=facts) for s in found[knob.id]
        )
        rows += gathered(knob, cases, knob.id in choice)
    refuse_conflicts(rows)
    return Audit(
        started_at=host.read_at,
        rows=tuple(rows),
        findings=(*objections(rows), *(f for f in said if isinstance(f, Finding))),
        checks=tuple(c for c in said if isinstance(c, Check)),
        activity=seen.activity,
        tuners=seen.tuners or (),
        tuned=active_profiles(root),
        folder=seen.folder,
        read=read,
    )


def parse_choice(knobs: Iterable[str]) -> dict[str, str | None]:
    """Return the person's choice by entry, with the value where one was given.

    Raises:
        UsageError: an unknown name, or a value that the entry does not take.
    """
    choice: dict[str, str | None] = {}
    groups = {k.group for k in KNOBS if k.wanted}
    for word in knobs:
        name, equals, value = word.partition("=")
        if name in groups and not equals:
            choice |= {k.id: choice.get(k.id) for k in KNOBS if k.group == name and k.wanted and not k.by_name}
            continue
        knob = BY_ID.get(name)
        if knob is None:
            near = difflib.get_close_matches(name, [*BY_ID, *groups], n=1)
            hint = f': did you mean "{near[0]}"?' if near else ": 'hwdiag audit --all' lists them"
            raise UsageError(f"there is no setting {name[:60]!r}{hint}")
        if knob.wanted is None:
            raise UsageError(f"{name} is never set: {knob.known}")
        if equals and (knob.takes is None or re.fullmatch(knob.takes, value) is None):
            raise UsageError(f"{name} takes {knob.takes_text or 'no value'}, not {value[:60]!r}")
        choice[name] = value if equals else choice.get(name)
    return choice


def refuse_conflicts(rows: Iterable[Row]) -> None:
    """Raise UsageError where a chosen value must be less than another chosen one, and is not."""
    wanted = {r.knob: r.wanted for r in rows if r.chosen and r.wanted}
    for id_, value in wanted.items():
        limit = wanted.get(BY_ID[id_].below or "")
        if limit is not None and int(value) >= int(limit):
            raise UsageError(f"{id_} ({value}) must be less than {BY_ID[id_].below} ({limit})")


def gathered(knob: Knob, cases: Iterable[KnobCase], asked: bool) -> Iterator[Row]:
    """Yield the rows of one entry. Places that are alike share one."""
    alike: dict[tuple[object, ...], list[Row]] = {}
    for case in cases:
        row = judged(knob, case, asked)
        alike.setdefault((row.now, row.wanted, row.chosen, row.objection, row.why), []).append(row)
    for rows in alike.values():
        where = tuple(w for r in rows for w in r.where)
        targets = tuple(t for r in rows for t in r.targets)
        yield rows[0].model_copy(update={"where": where, "targets": targets})


def judged(knob: Knob, case: KnobCase, asked: bool) -> Row:
    """Return the row of one entry in one place."""
    now = case.setting.now
    wanted = knob.wanted(case) if knob.wanted is not None and now is not None else None
    offered = knob.offered(case)
    refused = wanted is not None and bool(offered) and wanted not in offered
    if refused:
        refusal, wanted = f"the kernel does not offer {wanted} here, but {listed(offered)}", None
    objection = (knob.objection(case) if knob.objection is not None and now is not None else None) or ""
    spoken = knob.trigger(case) if knob.trigger is not None and wanted is not None and wanted != now else None
    readable = now is not None
    if not readable:
        state: State = "unknown"
    elif objection:
        state = "objection"
    elif wanted is None:
        state = "nothing to want"
    else:
        state = "as wanted" if is_same(wanted, now or "") else "differs"
    chosen = wanted is not None and (asked or spoken is not None)
    if refused and asked:
        why = f"you chose it, but {refusal}"
    elif chosen:
        why = "you chose it" if asked else str(spoken)
    else:
        why = case.setting.why if not readable and case.setting.why else knob.known
    return Row(
        knob=knob.id,
        group=knob.group,
        where=(case.setting.where,),
        targets=(case.setting.target,) if case.setting.target else (),
        now=now,
        wanted=wanted,
        asked=case.value,
        state=state,
        chosen=chosen,
        why=why,
        evidence="seen here" if spoken is not None and not asked else knob.evidence,
        risk=knob.risk,
        objection=objection,
    )


def is_same(wanted: str, now: str) -> bool:
    """Return whether two values are the same: ``80`` and ``80.00`` are."""
    try:
        return float(wanted) == float(now)
    except ValueError:
        return wanted == now


def objections(rows: Iterable[Row]) -> Iterator[Finding]:
    """Yield a finding for each value that does nothing or harms."""
    for row in rows:
        if row.objection:
            knob = BY_ID[row.knob]
            fix = f" 'knobs {row.knob}' has the scripts set {row.wanted}." if row.wanted else ""
            yield Finding(
                id=f"setting-{row.knob.replace('.', '-').replace('_', '-')}"
                + "".join(f"-{t}" for t in row.targets[:1]),
                severity=knob.severity,
                title=capitalised(row.objection),
                detail=f"{knob.known}{fix} (Source: {knob.link}.)",
                evidence=row.where[:3],
            )
