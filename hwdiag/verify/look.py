"""The look at the host: facts first, then speeds. It tells what it does, so that whoever waits knows where it hangs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hwdiag import __version__
from hwdiag.core.errors import HwdiagError
from hwdiag.core.finding import Check
from hwdiag.core.text import listed, now, plural
from hwdiag.experiment.statistics import MIN_PAIRS
from hwdiag.host.identity import identity_of
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.parameters.verify import VerifyParams
from hwdiag.record.model import Record
from hwdiag.record.verification import SEVERITY, FactChange, VerdictCause, Verification, worst
from hwdiag.verify import facts
from hwdiag.verify.find import find_record
from hwdiag.verify.speeds import (
    Recorded,
    Repeated,
    SpeedAnswers,
    affordable,
    comparable,
    failures,
    judge_speeds,
    measure,
)

MARGIN_S = 2.0
"""Of the whole time, kept for ending processes and telling the verdict."""
LEAST_S = 3.0
"""Less time than that is none to measure in: torch alone takes a second to import."""

Doing = Callable[[str], None]
Tell = Callable[[Verification], None]


def verify(params: VerifyParams, doing: Doing, tell: Tell) -> Verification:
    """Return the verdict on this host, with its parameters checked. ``tell`` hears what the facts gave before."""
    began, started_at = time.monotonic(), now()
    doing("reading the facts of this host")
    host = read_host(Root.live())
    hostname = os.uname().nodename

    def verdict(causes: tuple[VerdictCause, ...], **values: object) -> Verification:
        ordered = tuple(sorted(causes, key=lambda c: SEVERITY.index(c.status)))
        about = {"identity": identity_of(host), "started_at": started_at, "version": __version__}
        return Verification.model_validate({
            "host": hostname, "hostname": hostname, **about, "seconds": round(time.monotonic() - began, 3),
            "status": worst(ordered), "causes": ordered, **values,
        })  # fmt: skip

    doing(f"reading the record {params.record or 'in outputs/'}")
    try:
        path, record = find_record(params.record, params.name)
    except (HwdiagError, OSError) as error:
        return verdict((no_record(error),))
    about = {"host": record.name, "record": str(path), "record_started_at": record.started_at}
    other = facts.another_machine(record.identity, identity_of(host))
    if other is not None:
        return verdict((other,), **about)
    causes, checks, changed = compared(record, host)
    of_facts = {**about, "changed": changed}
    tell(verdict(causes, **of_facts, checks=checks))
    doing("measuring")
    if not params.facts_only:
        ready_to_judge()
    left = params.timeout - MARGIN_S - (time.monotonic() - began)
    speeds = SpeedAnswers(checks=(skipped("not asked for"),)) if params.facts_only else look(params, record, host, left)
    checks = (*checks, *speeds.checks)
    return verdict((*causes, *speeds.causes), **of_facts, speeds=speeds.speeds, checks=checks)


def ready_to_judge() -> None:
    """Import now what the judge needs when the time is nearly over."""
    import scipy.special  # noqa: F401


def no_record(error: Exception) -> VerdictCause:
    """Return the cause where there is no record that can be read."""
    title = " ".join(str(error).split())[:900] or type(error).__name__
    return VerdictCause(
        id="no-record", status="UNKNOWN", title=title, remedy="name one with --record PATH, or make one: hwdiag run"
    )


def compared(record: Record, host: Host) -> tuple[tuple[VerdictCause, ...], tuple[Check, ...], tuple[FactChange, ...]]:
    """Return the causes, checks and changes that the facts give."""
    changed = facts.changes(record, host)
    found = facts.reimaged(record.identity, identity_of(host))
    causes = (*((found,) if found else ()), *facts.lost(record.host, host), *facts.drifted(changed))
    if causes:
        return causes, (), changed
    gpus = plural(len(host.accelerators), "GPU")
    memory = f"{(host.memory.total_bytes or 0) / 2**30:.4g} GiB of memory"
    title = f"{plural(len(host.cpu.online), 'CPU')}, {memory}, {gpus}, instructions and settings are as recorded"
    return (), (Check(id="facts", state="fine", title=title),), changed


def look(params: VerifyParams, record: Record, host: Host, seconds: float) -> SpeedAnswers:
    """Return what the speeds tell; why they could not be looked at, where that is so."""
    recorded = comparable(record)
    if not recorded:
        return SpeedAnswers(checks=(skipped("the record has none of enough processes; 'hwdiag run' measures them"),))
    usable, then = len(host.usable_cpus), len(record.host.usable_cpus)
    if usable != then:
        why = f"this process may use {plural(usable, 'CPU')}, that of the record {then}"
        return SpeedAnswers(checks=(skipped(why),))
    python = params.python or record.software.python
    if not python or not Path(python).is_file():
        return SpeedAnswers(causes=(no_python(python),))
    if seconds < LEAST_S:
        return SpeedAnswers(causes=(no_time(),))
    chosen = affordable(recorded, usable, seconds)
    found = measure(python, host, [r.workload for r in chosen], seconds)
    return judged(recorded, found, params.loss / 100, usable)


def judged(recorded: Sequence[Recorded], found: Repeated, least: float, cpus: int) -> SpeedAnswers:
    """Return what the measurements tell; that there was no time, where there are none."""
    if not found.measurements:
        return SpeedAnswers(causes=(no_time(),))
    kept = [r for r in recorded if r.workload in found.kept]
    given_up = [r for r in recorded if r.workload not in found.kept]
    answers = judge_speeds(kept, found.measurements, least, cpus)
    causes = (*answers.causes, *failures(given_up, found.measurements))
    return SpeedAnswers(answers.speeds, causes, (*answers.checks, *too_long(given_up)))


def too_long(given_up: Sequence[Recorded]) -> tuple[Check, ...]:
    """Return the check that could not be done, where workloads took too much of the time."""
    if not given_up:
        return ()
    names = listed([r.workload.name for r in given_up])
    title = f"speed of {names}: too little time for {MIN_PAIRS} processes, --timeout S gives more"
    return (Check(id="speeds-given-up", state="unchecked", title=title),)


def skipped(why: str) -> Check:
    """Return the check that could not be done."""
    return Check(id="speeds", state="unchecked", title=f"speeds: {why}")


def no_python(python: str) -> VerdictCause:
    """Return the cause where there is no interpreter to measure with."""
    title = f"the record's Python is not there: {python or 'it names none'}"[:1000]
    remedy = "name one with torch: --python PATH; or --facts-only"
    return VerdictCause(id="no-python", status="UNKNOWN", title=title, remedy=remedy)


def no_time() -> VerdictCause:
    """Return the cause where nothing was measured in the time."""
    remedy = "verify again while nothing else runs here, or with a larger --timeout; or --facts-only"
    return VerdictCause(id="speeds-undecided", status="UNKNOWN", title="no time was left to measure", remedy=remedy)
