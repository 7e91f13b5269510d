"""Probe of the program's variables that mislead its libraries, each judged by its value and effect."""

from __future__ import annotations

from collections.abc import Iterator

from hwdiag.core.finding import Check, Finding
from hwdiag.explain.cpu_use import wanted_by
from hwdiag.explain.model import Answer, Case
from hwdiag.explain.probes import cpus, ending, threads
from hwdiag.process.environment.judge import about_variables, readers_mapped, system_facts
from hwdiag.process.environment.model import ProcessContext
from hwdiag.process.observation.model import ObservedProcess

COMPUTES = 0.3
"""CPUs that a process runs on or waits for at least, to count among those that compute side by side."""
TITLE = "The variables that it was started with"


def look(case: Case) -> Iterator[Answer]:
    """Yield the variables that mislead, once for all processes that have them alike, or that none does."""
    shown = [p for p in case.computing if p.environment]
    if not shown:
        hidden = (reason for p in case.computing for reason in p.hidden)
        why = next(hidden, "no process of it was seen for long enough")
        yield Check(id="environment", state="unchecked", title=TITLE, detail=why)
        return
    told = [a for probe in (threads.look, cpus.look, ending.look) for a in probe(case) if isinstance(a, Finding)]
    said = " ".join(f"{f.title} {f.detail}" for f in told)
    found: dict[str, Answer] = {}
    for process in shown:
        for answer in about_variables(process_context(case, process), evidence="program.processes"):
            found.setdefault(answer.id, answer)
    wrong = [a for a in found.values() if isinstance(a, Finding)]
    yield from (f for f in wrong if f.evidence[0].rpartition(".")[2] not in said)
    if not any(f.severity != "note" for f in wrong):
        yield from (a for a in found.values() if isinstance(a, Check))


def process_context(case: Case, process: ObservedProcess) -> ProcessContext:
    """Return what the variables of an observed process are judged by."""
    host, allowed = case.host, process.first_allowed or process.allowed
    cores = {cpu.core for cpu in host.cpu.logical if cpu.id in allowed}
    facts = next((i.facts for i in case.program.inside if i.pid == process.pid), {})
    libraries = process.libraries or None
    return ProcessContext(
        environment=process.environment,
        cpus=allowed,
        cores=len(cores) or len(allowed),
        quota=process.cgroup.cpu_quota,
        arch=host.system.arch,
        flags=host.cpu.flags or None,
        gpus=len(host.accelerators) or None,
        processes=side_by_side(case, process),
        readers={} if libraries is None else readers_mapped(libraries),
        libraries=libraries,
        threads=whole(facts, "threads"),
        main_cpus=process.allowed or None,
        capability=str(facts["cpu_capability"]) if facts.get("cpu_capability") else None,
        looks_at_files=case.program.pid is None,
        **system_facts(process.environment),
    )


def whole(facts: dict[str, object], name: str) -> int | None:
    """Return a count that the program told of itself; None where it did not."""
    value = facts.get(name)
    return value if isinstance(value, int) and value > 0 else None


def side_by_side(case: Case, process: ObservedProcess) -> int:
    """Return how many processes compute on the CPUs of this one at the same time, itself included."""
    others = (
        p
        for p in case.computing
        if p.pid != process.pid
        and min(p.ended_s, process.ended_s) > max(p.began_s, process.began_s)
        and sum(wanted_by(p, t) for t in p.threads) > COMPUTES
        and set(p.first_allowed or p.allowed) & set(process.first_allowed or process.allowed)
    )
    return 1 + sum(1 for _ in others)
