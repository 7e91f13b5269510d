"""Probe of other programs that take the CPUs that the program wants."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from hwdiag.core.finding import Check, Finding
from hwdiag.core.text import listed, plural
from hwdiag.explain.cpu_use import WAITED, cpu_use
from hwdiag.explain.model import Answer, Case
from hwdiag.process.observation.model import Neighbour
from hwdiag.report.format import clean, percent, seconds, shorten

TAKEN = 0.1
"""Share of the CPUs that it may use, taken by others, from which on they are in its way."""
FULL = 80.0
"""Percent of all CPUs that are busy, from which on there is no room beside the others."""
NAMED, NAMED_CPUS = 3, 0.1
NAME = re.compile(r"[\w.+-]{1,15}")
"""A process's name that pgrep can be given as it is."""


def look(case: Case) -> Iterator[Answer]:
    """Yield who else uses the CPUs, where it waits for one."""
    use = cpu_use(case)
    busy, share = case.program.machine.get("cpu.use"), use.wait_share
    neighbours = case.program.neighbours
    if not use.working or use.is_short:
        why = "no process of it was seen" if not use.working else f"it was there for {seconds(use.seconds)} only"
        yield Check(id="neighbours", state="unchecked", title="Whether other programs took its CPUs", detail=why)
        return
    if not neighbours:
        yield Check(
            id="neighbours",
            state="fine",
            title="No other program used the CPUs",
            detail="0.02 CPUs and more were asked",
        )
        return
    others = listed(words(n) for n in neighbours[:NAMED] if n.cpus >= NAMED_CPUS or n is neighbours[0])
    crowded = busy is None or busy >= FULL or len(use.allowed) < len(use.online)
    waits = share >= WAITED if share is not None else crowded and busy is not None
    if not (use.others >= TAKEN * use.capacity and crowded and waits):
        waited = "" if share is None else f"; it waited for a CPU {percent(share)} of the time in which it could run"
        yield Check(
            id="neighbours",
            state="fine",
            title="Other programs left it the CPUs",
            detail=f"they used {use.others:.1f} of {plural(len(use.online), 'CPU')}{waited}: {others}",
        )
        return
    waited = "" if share is None else f"; it waited for one {percent(share)} of the time in which it could run"
    yield Finding(
        id="neighbours",
        severity="warning" if use.others >= 0.25 * use.capacity else "note",
        title=f"Other programs use {use.others:.1f} of the {plural(len(use.online), 'CPU')}: {others}{waited}",
        detail=f"{remedy(case, neighbours[0])} Or give each cores of its own: 'taskset -c', AllowedCPUs= of a "
        "systemd unit, cpusets of containers. Or run it when the host is idle. Figures measured "
        "beside them do not hold for this host alone.",
        evidence=("program.neighbours",),
    )


def words(neighbour: Neighbour) -> str:
    """Return one of them with what it uses."""
    count = f"{plural(neighbour.processes, 'process', 'processes')}, " if neighbour.processes > 1 else ""
    user = f", of {clean(neighbour.user)}" if neighbour.user else ""
    return f"{shorten(clean(neighbour.name), 40)} ({count}{neighbour.cpus:.1f} CPUs{user})"


def remedy(case: Case, neighbour: Neighbour) -> str:
    """Return how to make the busiest of them take less; its name is given to pgrep only where it is none of its own."""
    busiest = f" The busiest is '{shorten(clean(neighbour.command), 100)}'." if neighbour.command else ""
    own = {process.name for process in case.program.processes}
    if not neighbour.processes or not NAME.fullmatch(neighbour.name) or neighbour.name in own:
        return (
            "Stop the other programs, wait for their end, or lower their priority: 'renice -n 19 -p PID' ('ps aux "
            f"--sort -%cpu | head' shows them).{busiest}"
        )
    return (
        f"Stop {neighbour.name} or wait for its end; or lower its priority: 'renice -n 19 -p $(pgrep -x "
        f"{shlex.quote(neighbour.name)})', CPUWeight=20 of its systemd unit.{busiest}"
    )
