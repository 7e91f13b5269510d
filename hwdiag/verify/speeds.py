"""A few speeds measured again, in fresh processes, and judged against those of the record."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from hwdiag.core.finding import Check
from hwdiag.experiment.budget import BUDGETS, GRACE
from hwdiag.experiment.campaign import MOST_AT_ONCE, Campaign, at_once
from hwdiag.experiment.estimates import estimates
from hwdiag.experiment.judge import Judged, Rerun, judge_changes
from hwdiag.experiment.lever import BASELINE, Lever, Plan
from hwdiag.experiment.model import Measurement, Workload
from hwdiag.experiment.statistics import ALPHA, MIN_PAIRS
from hwdiag.host.model import Host
from hwdiag.record.model import Record
from hwdiag.record.row import RefusedRecord, Speed, row_of
from hwdiag.record.tuning import tuning
from hwdiag.record.verification import SpeedCheck, SpeedVerdict, VerdictCause
from hwdiag.verify.model import Reference

FALSE_ALARM = 0.0005
"""Chance of one false alarm or more in one verification that the judge leaves; the rest of 1 in 1,000 is for noise that
differs from run to run."""
PROCESSES = 10
"""Fresh processes of one verification: two more than the least by which the judge decides."""
MOST_WORKLOADS = 3
LONGEST_S = 0.08
"""Of one iteration, as recorded: longer ones leave no time for enough processes."""
ORDER = ("model", "memory", "compute")
"""Families in the order in which they are measured: a net needs most of a machine, its memory bandwidth comes next."""
IMPORT_S = 1.5
"""Seconds of one CPU that a process takes to start and to import torch."""
BUILD_S = 0.1
"""Seconds that a process takes to build a workload, and for its first call beyond the later ones."""
FILL_S = 0.7
"""Seconds of one CPU for each GB of operands that a process fills: the kernel clears each page at its first touch."""
MOST_FILLING = 16
"""CPUs by which that gets faster, at most."""
WARM_CALLS = 3
"""Calls before the windows, at least: the first one, and two to warm up."""
CRITICAL_TIMES = 2
"""A loss of so many times the least one that is told is critical."""
OTHERS_CPUS = 0.1
"""Share of the usable CPUs that others may keep busy, half a CPU at least, before a loss is told of them."""
STEAL = 0.05


@dataclass(frozen=True)
class Recorded:
    """One workload of the record, with the speed that it had there."""

    workload: Workload
    speed: Speed


@dataclass(frozen=True)
class SpeedAnswers:
    """All that the speeds tell."""

    speeds: tuple[SpeedCheck, ...] = ()
    causes: tuple[VerdictCause, ...] = ()
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Repeated:
    """Measurements of today's way, and the workloads that were measured to the end."""

    measurements: tuple[Measurement, ...]
    kept: tuple[Workload, ...]


def comparable(record: Record) -> tuple[Recorded, ...]:
    """Return the workloads of the record that can be measured again in seconds: the shortest of each family first.

    The record has them of at least ``MIN_PAIRS`` processes under today's default on the CPU, of ``verify --learn`` or
    of a search; a person's own program is none of them.
    """
    row = row_of(record.model_dump_json().encode(), "record.json")
    if isinstance(row, RefusedRecord):
        return ()
    speeds = {s.workload: s for s in row.speeds if s.device == "cpu" and s.processes >= MIN_PAIRS}
    every = {w.name: w for w in (*learnt(record), *tuning(record).workloads)}
    able = [w for w in every.values() if w.name in speeds and w.family != "own"]
    found = sorted((Recorded(w, speeds[w.name]) for w in able), key=lambda r: r.speed.seconds)
    short = [r for r in found if r.speed.seconds <= LONGEST_S]
    return tuple(each_family_first(short or found[:1])[:MOST_WORKLOADS])


def each_family_first(recorded: Sequence[Recorded]) -> list[Recorded]:
    """Return one workload of each family in their order, then a second one of each, and so on."""
    seen: Counter[str] = Counter()
    ranked = []
    for r in recorded:
        family = r.workload.family
        ranked.append((seen[family], ORDER.index(family) if family in ORDER else len(ORDER)))
        seen[family] += 1
    return [recorded[i] for i in sorted(range(len(recorded)), key=lambda i: ranked[i])]


def affordable(recorded: Sequence[Recorded], cpus: int, seconds: float) -> tuple[Recorded, ...]:
    """Return the first workloads for which enough processes fit into the seconds, at least one."""
    left = seconds - MIN_PAIRS * IMPORT_S / min(cpus, MOST_AT_ONCE)
    chosen: list[Recorded] = []
    for r in recorded:
        left -= MIN_PAIRS * cost_s(r, cpus)
        if chosen and left < 0:
            break
        chosen.append(r)
    return tuple(chosen)


def cost_s(recorded: Recorded, cpus: int) -> float:
    """Return the seconds that one process takes to build, warm up and measure a workload that is as fast as
    recorded."""
    turn, each = BUDGETS["quick"].turn, recorded.speed.seconds
    fill = FILL_S * recorded.workload.bytes / 1e9 / min(cpus, MOST_FILLING)
    return BUILD_S + fill + WARM_CALLS * each + turn.warmup_s + turn.windows * max(turn.window_s, each)


def learnt(record: Record) -> tuple[Workload, ...]:
    """Return the workloads of the record's reference; none where it has none."""
    found = record.study("verify", Reference)
    return () if found is None else found.workloads


def alike(count: int) -> list[Plan]:
    """Return so many plans that are all today's way, under names of their own."""
    return [Plan.of(Lever(id=f"same{n}", factor="same", title=f"today's way, {n}")) for n in range(1, count + 1)]


def measure(
    python: str, host: Host, workloads: Sequence[Workload], seconds: float, processes: int = PROCESSES
) -> Repeated:
    """Return measurements of so many fresh processes, or as many as the seconds allow."""
    budget = BUDGETS["quick"].model_copy(update={"total_s": max(1.0, seconds / (1 + GRACE))})
    cpus = max(2, len(host.usable_cpus))
    campaign = Campaign(
        python, budget, seed=1, child_timeout_s=seconds, most=lambda todo: min(at_once(host, todo), cpus), ends=True
    )
    return repeated(campaign, workloads, processes)


def repeated(campaign: Campaign, workloads: Sequence[Workload], processes: int = PROCESSES) -> Repeated:
    """Measure today's way block by block: until the judge can decide, and then as often as fits, up to ``processes``.

    Where a block lasts too long for that, the last workload is given up, so that the others are decided.
    """
    done, lasted, kept = 0, 0.0, tuple(workloads)
    while done < processes and campaign.remaining_s > (0 if done < MIN_PAIRS else lasted):
        began = campaign.clock()
        size = min(campaign.most(kept), processes - done)
        campaign.run(alike(size), kept, "screen")  # the phase that checks no results
        done, lasted = done + size, campaign.clock() - began
        if len(kept) > 1 and math.ceil((MIN_PAIRS - done) / size) * lasted > campaign.remaining_s:
            kept = kept[:-1]
    return Repeated(tuple(campaign.measurements), kept)


def speed_now(recorded: Recorded, measurements: Sequence[Measurement]) -> Speed | None:
    """Return the speed of one workload over all processes that ended well; None where there are none."""
    plain = [
        m.model_copy(update={"plan": BASELINE})
        for m in measurements
        if m.workload == recorded.workload.name and m.outcome.ok
    ]
    for found in estimates(plain):
        seen = found.seconds
        return replace(recorded.speed, seconds=seen.median, low=seen.low, high=seen.high, processes=seen.processes)
    return None


def judge_speeds(
    recorded: Sequence[Recorded], measurements: Sequence[Measurement], least: float, cpus: int
) -> SpeedAnswers:
    """Return what became of each speed, for a least loss (0.1 is 10 %), all judged together.

    A loss while others used the machine is told as not known.
    """
    now = [(r, speed) for r in recorded if (speed := speed_now(r, measurements)) is not None]
    judged = judge_changes(
        [Rerun(r.speed.rate, speed.rate) for r, speed in now], loss_as_effect(least), share=FALSE_ALARM / ALPHA
    )
    busy = disturbed(measurements, cpus)
    speeds: list[SpeedCheck] = []
    said: list[VerdictCause | Check] = [*failures(recorded, measurements)]
    for (r, speed), found in zip(now, judged, strict=True):
        verdict = verdict_of(found)
        name, unit, then, rate = r.workload.name, r.speed.unit, r.speed.rate, speed.rate
        speeds.append(SpeedCheck(workload=name, unit=unit, then=then, now=rate, speedup=found.speedup, verdict=verdict))
        said.append(answer(r.workload, found, verdict, least, busy))
    causes = tuple(s for s in said if isinstance(s, VerdictCause))
    return SpeedAnswers(tuple(speeds), causes, tuple(s for s in said if isinstance(s, Check)))


def loss_as_effect(least: float) -> float:
    """Return the judge's least effect for a least loss of speed: 10 % slower is 1 / 0.9 of the time."""
    return 1 / (1 - least) - 1


def verdict_of(found: Judged) -> SpeedVerdict:
    """Return the judge's word for a speed: slower, within, faster or undecided."""
    if found.speedup.processes < MIN_PAIRS:
        return "undecided"
    if found.verdict in ("better", "worse"):
        return "faster" if found.verdict == "better" else "slower"
    return "within" if found.verdict == "same" else "undecided"


def answer(workload: Workload, found: Judged, verdict: SpeedVerdict, least: float, busy: str) -> VerdictCause | Check:
    """Return what is said of one speed: a cause, or a check that was fine or could not be done."""
    loss = 1 - found.speedup.median
    name, span = workload.name, f"{1 - found.speedup.high:.0%} to {1 - found.speedup.low:.0%}"
    if verdict == "slower" and not busy:
        return VerdictCause(
            id=f"slower.{name}",
            status="CRITICAL" if loss >= CRITICAL_TIMES * least else "WARNING",
            title=f"{name} is {loss:.0%} slower than recorded ({span})",
            remedy="look for what else runs (top), for heat and clocks ('hwdiag monitor --seconds 30'), for changed "
            "settings ('hwdiag audit'); 'hwdiag compare' says since when",
        )
    if found.speedup.processes < MIN_PAIRS:
        return unknown(f"{name} was measured by {found.speedup.processes} processes: {MIN_PAIRS} decide", busy)
    if loss > least:
        return unknown(f"{name} looks {loss:.0%} slower than recorded ({span}), which is not sure", busy)
    if verdict in ("within", "faster"):
        return Check(id=f"speed.{name}", state="fine", title=f"{name} is as fast as recorded", detail=span_text(found))
    return Check(
        id=f"speed.{name}",
        state="fine" if found.speedup.low >= 1 - least else "unchecked",
        title=f"{name} is not surely slower than recorded",
        detail=span_text(found),
    )


def span_text(found: Judged) -> str:
    """Return a speed's ratio with its interval: ``1.01 times the recorded speed (0.99 to 1.03)``."""
    s = found.speedup
    return f"{s.median:.3g} times the recorded speed ({s.low:.3g} to {s.high:.3g})"


def unknown(title: str, busy: str) -> VerdictCause:
    """Return the cause where a speed could not be judged."""
    why = f"; meanwhile {busy}" if busy else ""
    remedy = "verify again while nothing else runs here, or with a larger --timeout"
    return VerdictCause(id="speeds-undecided", status="UNKNOWN", title=f"{title}{why}", remedy=remedy)


def disturbed(measurements: Sequence[Measurement], cpus: int) -> str:
    """Return who used the machine meanwhile, in a clause; an empty text where nobody did, or nothing tells."""
    seen = {m.block: m.disturbance for m in measurements}.values()
    others = [d.other_cpu for d in seen if d.other_cpu is not None]
    steal = [d.steal for d in seen if d.steal is not None]
    if others and median(others) > max(0.5, OTHERS_CPUS * cpus):
        return f"others kept {median(others):.1f} CPUs busy"
    if steal and median(steal) > STEAL:
        return f"the hypervisor took {median(steal):.0%} of the time"
    if any(d.other_run for d in seen):
        return "another run of hwdiag measured here"
    if any(d.throttled_s for d in seen):
        return "a CPU quota stopped it"
    return "the machine was suspended" if any(d.suspended_s > 1 for d in seen) else ""


def failures(recorded: Sequence[Recorded], measurements: Sequence[Measurement]) -> list[VerdictCause]:
    """Return the causes where a workload of the record dies or gives wrong results now."""
    causes = []
    for name in (r.workload.name for r in recorded):
        mine = [m for m in measurements if m.workload == name]
        bad = [m for m in mine if not m.outcome.ok and m.outcome.kind not in ("timeout", "out-of-memory")]
        if not bad:
            continue
        title = f"{name} fails, which ran when it was recorded: {bad[0].outcome.kind}, {bad[0].outcome.detail}"
        causes.append(
            VerdictCause(
                id=f"fails.{name}",
                status="CRITICAL" if len(bad) == len(mine) else "WARNING",
                title=" ".join(title.split())[:1000],
                remedy="'hwdiag check' says which package, library or instruction it dies of",
            )
        )
    return causes
