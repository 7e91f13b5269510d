"""Rules that look at the evidence and say what is wrong, what is fine, and what could not be looked at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from statistics import median

from hwdiag.core.choices import ENGINES
from hwdiag.core.finding import Check, Finding, worst_first
from hwdiag.core.text import plural
from hwdiag.experiment.lever import BASELINE, plan_by_id
from hwdiag.experiment.model import Measurement
from hwdiag.experiment.statistics import warming
from hwdiag.experiment.workloads import MATMUL_N
from hwdiag.host.cpulist import format_cpulist
from hwdiag.host.gpu import torch_build
from hwdiag.process.preflight import preflight
from hwdiag.process.software import ELSEWHERE
from hwdiag.process.torch_builds import driver_in, too_old, without_kernels
from hwdiag.tune.evidence import Evidence
from hwdiag.tune.placement import kind_domains

Said = Finding | Check

STEAL_SHARE = 0.02
"""Steal time above which the hypervisor's other guests show in the figures."""
COLD_SHARE = 0.1
"""Share of measurements that may still be warming up before it is worth a word."""
ENGINE_GAP = 1.2
"""Factor between two libraries on the same product from which it is worth a word."""
OTHER_CPU = 0.25
"""CPUs kept busy by other processes above which they show in the figures."""


def consult(evidence: Evidence) -> tuple[tuple[Finding, ...], tuple[Check, ...]]:
    """Return the findings of all rules, the worst first, and their checks."""
    rules = RULES if evidence.host.is_here else ELSEWHERE_RULES
    return sorted_out(s for rule in rules for s in rule(evidence))


def sorted_out(said: Iterable[Said]) -> tuple[tuple[Finding, ...], tuple[Check, ...]]:
    """Return findings with the worst first, and checks."""
    said = tuple(said)
    findings = worst_first(s for s in said if isinstance(s, Finding))
    return findings, tuple(s for s in said if isinstance(s, Check))


def expected_hardware(e: Evidence) -> Iterator[Said]:
    """Yield a finding where the host is not of the kind that the profile is for."""
    expect, cpu, memory = e.profile.expect, e.host.cpu, e.host.memory.total_bytes
    isa = set(cpu.isa.features) if cpu.isa else set()
    gpus = [g.name for g in e.host.gpus]
    mismatches = {
        "arch": (expect.arch and expect.arch != e.host.system.arch, f"architecture {expect.arch}", e.host.system.arch),
        "cpu": (expect.cpu and expect.cpu.lower() not in (cpu.model or "").lower(), f"a CPU {expect.cpu!r}", cpu.model),
        "min_cores": (expect.min_cores and (cpu.cores or 0) < expect.min_cores, f"{expect.min_cores} cores", cpu.cores),
        "min_sockets": (
            expect.min_sockets and (cpu.sockets or 0) < expect.min_sockets,
            f"{expect.min_sockets} sockets",
            cpu.sockets,
        ),
        "min_memory_gib": (
            expect.min_memory_gib and (memory or 0) / 2**30 < expect.min_memory_gib,
            f"{expect.min_memory_gib} GiB of memory",
            None if memory is None else f"{memory / 2**30:.1f} GiB",
        ),
        "gpu": (
            expect.gpu and not any(expect.gpu.lower() in name.lower() for name in gpus),
            f"a GPU {expect.gpu!r}",
            ", ".join(gpus) or "none",
        ),
        "isa": (not set(expect.isa) <= isa, f"the features {', '.join(expect.isa)}", ", ".join(sorted(isa))),
        "no_isa": (set(expect.no_isa) & isa, f"no {', '.join(expect.no_isa)}", ", ".join(sorted(isa))),
    }
    wrong = {name: (wanted, seen) for name, (bad, wanted, seen) in mismatches.items() if bad}
    for name, (wanted, seen) in wrong.items():
        yield Finding(
            id=f"unexpected-{name.replace('_', '-')}",
            severity="warning",
            title=f"The profile {e.profile.host!r} expects {wanted}; this host has {seen or 'none that could be read'}",
            detail="The run went on with what is here. If this is another machine, choose its profile, or host=auto.",
            evidence=("host",),
        )
    if not wrong and expect != type(expect)():
        yield Check(
            id="expected-hardware", state="fine", title=f"The hardware is what profile {e.profile.host!r} expects"
        )


def shell_and_host(e: Evidence) -> Iterator[Said]:
    """Yield what this shell and this host hand to a program."""
    inherited = e.software.environment if e.software.outcome.ok else None
    yield from preflight(e.host, environment=inherited, software=e.software)


def torch_runs(e: Evidence) -> Iterator[Said]:
    """Yield a finding where torch does not start."""
    if e.software.outcome.ok:
        yield Check(id="torch", state="fine", title=f"PyTorch {e.software.torch_version} imports and runs")
    else:
        yield Finding(
            id="torch-does-not-run",
            severity="problem",
            title=f"PyTorch does not run in {e.software.python}",
            detail=f"{e.software.outcome.detail}. Nothing could be measured.",
            evidence=("software.outcome",),
        )


def failures(e: Evidence) -> Iterator[Said]:
    """Yield a finding for children that died, hung, miscalculated, or did not run as they were told to."""
    failed: dict[tuple[str, str, str], list[Measurement]] = defaultdict(list)
    for m in e.measurements:
        if not m.outcome.ok:
            failed[m.plan, m.outcome.kind, m.outcome.detail].append(m)
    for (plan, kind, detail), group in failed.items():
        workloads = ", ".join(dict.fromkeys(m.workload for m in group))
        yield Finding(
            id=f"failed-{plan}-{kind}-{group[0].id}",
            severity="problem",
            title=f"{workloads} under {plan_by_id(e.plans, plan).title!r}: {kind.replace('-', ' ')}",
            detail=f"{detail}. This Launch is not recommended for it.",
            evidence=tuple(m.id for m in group),
        )
    errors = [m.max_error for m in e.measurements if m.max_error is not None]
    if errors and not failed:
        yield Check(
            id="results",
            state="fine",
            title="Every Launch took effect and computed the same results as the reference",
            detail=f"{len(errors)} results checked; the largest relative error is {max(errors):.1e}",
        )


def quiet_machine(e: Evidence) -> Iterator[Said]:
    """Yield findings on what disturbed the machine while it was measured."""
    ok = [m for m in e.measurements if m.outcome.ok]
    if not ok:
        return
    steal = median(m.disturbance.steal or 0 for m in ok)
    others = median(m.disturbance.other_cpu or 0 for m in ok)
    throttled = sum({m.process: m.disturbance.throttled_s or 0 for m in ok}.values())
    swapped = sum({m.process: m.disturbance.swapped_bytes or 0 for m in ok}.values())
    together = sum(m.disturbance.other_run for m in ok)
    slept = sum({m.process: m.disturbance.suspended_s for m in ok}.values())
    stops = sum({m.block: m.disturbance.stopped_windows for m in ok}.values())
    noise = [
        *([f"the hypervisor took {steal:.0%} of the CPU time"] if steal > STEAL_SHARE else []),
        *([f"other processes kept {others:.1f} CPUs busy"] if others > OTHER_CPU else []),
        *([f"the CPU quota stopped the children for {throttled:.1f} s"] if throttled > 0.1 else []),
        *([f"{swapped / 2**20:.0f} MiB were swapped"] if swapped > 2**20 else []),
        *([f"another run of hwdiag measured beside {together} of {len(ok)}"] if together else []),
        *([f"the machine was suspended for {slept:.0f} s"] if slept >= 1 else []),
        *([f"somebody stopped the processes {stops} times (SIGSTOP); these windows do not count"] if stops else []),
    ]
    if noise:
        yield Finding(
            id="noisy-machine",
            severity="warning",
            title=f"While measuring, {' and '.join(noise)}",
            detail="The intervals include this, and small gains drown in it: repeat the run on a quiet machine.",
            evidence=tuple(m.id for m in ok[:3]),
        )
    else:
        yield Check(
            id="quiet",
            state="fine",
            title="The machine was quiet while measuring",
            detail=f"steal {steal:.1%}, other processes {others:.2f} CPUs (medians over children)",
        )


def warmed_up(e: Evidence) -> Iterator[Said]:
    """Yield a finding where processes had not reached their steady speed before they were timed."""
    ok = [m for m in e.measurements if m.outcome.ok]
    if not ok:
        return
    cold = [m for m in ok if warming(m.seconds, e.min_effect)]
    if len(cold) <= COLD_SHARE * len(ok):
        yield Check(id="warm", state="fine", title="The processes were warm when they were timed",
                    detail=f"{len(cold)} of {plural(len(ok), 'measurement')} became faster while timed")  # fmt: skip
        return
    yield Finding(
        id="still-warming",
        severity="note",
        title=f"{len(cold)} of {plural(len(ok), 'measurement')} were still becoming faster while they were timed",
        detail="The medians are then a little too slow, for all Launches alike: a longer budget warms up longer.",
        evidence=tuple(m.id for m in cold[:3]),
    )


def engines(e: Evidence) -> Iterator[Said]:
    """Yield a finding where another library multiplies matrices faster than torch here."""
    times = {x.workload: x for x in e.estimates if x.plan == BASELINE and x.device == "cpu" and x.workload in ENGINES}
    mine = times.pop("matmul-fp32", None)
    if mine is None or not times:
        return
    rates = {name: 2 * MATMUL_N**3 / x.seconds.median / 1e9 for name, x in {**times, "matmul-fp32": mine}.items()}
    best = max(times, key=rates.__getitem__)
    reached = ", ".join(f"{ENGINES[name]} {rate:.0f}" for name, rate in sorted(rates.items(), key=lambda r: -r[1]))
    gap = rates[best] / rates["matmul-fp32"]
    if gap < ENGINE_GAP:
        yield Check(
            id="engines", state="fine", title="torch.mm is as fast as any library here", detail=f"{reached} GFLOP/s"
        )
        return
    yield Finding(
        id="engine-gap",
        severity="warning",
        title=f"torch.mm leaves a factor of {gap:.1f} to {ENGINES[best]} on the same product: {reached} GFLOP/s",
        detail="It does not take the kernels that this CPU has. Transformers spend most of their time in it; "
        "see the section on library dispatch for what was measured against that.",
        evidence=(*mine.measurements, *times[best].measurements),
    )


def gpu_seen_by_torch(e: Evidence) -> Iterator[Said]:
    """Yield a finding where torch cannot use a GPU that is there."""
    gpus = e.host.accelerators
    if not gpus:
        why = e.host.gpu_note or (f"{e.host.gpus[0].name} is a part of the processor" if e.host.gpus else "none found")
        yield Check(id="gpu", state="unchecked", title="No GPU was measured", detail=why)
        return
    s, driver = e.software, next((gpu.cuda for gpu in gpus if gpu.cuda), None)
    for device in s.accelerators:
        if not device.has_kernels:
            yield Finding(
                id="gpu-without-kernels",
                severity="warning",
                title=f"{device.title} ({device.name}) was not measured: torch has no kernels for it",
                detail=without_kernels(device, s.torch_version, driver),
                evidence=("software.accelerators",),
            )
    if s.outcome.ok and not s.accelerators and not s.cuda_devices:
        build = f"built for CUDA {s.cuda}" if s.cuda else f"built for ROCm {s.hip}" if s.hip else "a CPU-only build"
        old = too_old(gpus[0].driver, driver or driver_in(s.cuda_note), s.cuda, gpus[0].compute_capability)
        yield Finding(
            id="gpu-not-used",
            severity="warning",
            title=f"{gpus[0].name} is here, but torch {s.torch_version} ({build}) sees no GPU",
            detail=old or s.cuda_note or f"Install a {torch_build(gpus[0])} build of torch to use it.",
            evidence=("host.gpus", "software.cuda"),
        )


def bindings(e: Evidence) -> Iterator[Said]:
    """Yield a check where NUMA bindings could not be measured."""
    nodes = [n for n in e.host.numa if n.memory_bytes != 0]
    refused = [m for m in e.measurements if m.outcome.kind == "not-applied" and "memory policy" in m.outcome.detail]
    if len(nodes) > 1 and refused:
        yield Check(
            id="numa",
            state="unchecked",
            title=f"NUMA binding could not be measured, although there are {len(nodes)} nodes",
            detail=f"{refused[0].outcome.detail}; containers often forbid set_mempolicy.",
        )
    elif len(nodes) == 1:
        yield Check(id="numa", state="fine", title="One NUMA node: there is nothing to bind")


def allocators(e: Evidence) -> Iterator[Said]:
    """Yield a check where no other allocators were there to be measured."""
    if not e.software.outcome.ok or any(plan.launch.allocator for plan in e.plans):
        return
    asked = not e.steps or any(step.factor == "heap" and step.options for step in e.steps)
    missing = "Neither tcmalloc nor jemalloc is installed (Debian: libtcmalloc-minimal4, libjemalloc2)."
    yield Check(
        id="allocators",
        state="unchecked",
        title="Only the C library's allocator was measured",
        detail=missing if asked else "The time was used up before others were measured: --budget thorough gives more.",
    )


def mixed_cores(e: Evidence) -> Iterator[Said]:
    """Yield the number of threads that suits each kind of core."""
    kinds = kind_domains(e.host)
    if not kinds:
        return
    first, *_ = kinds
    each = "; ".join(
        f"{plural(len(k.cores), 'thread')} for {k.name} (CPUs {format_cpulist(c for core in k.cores for c in core)})"
        for k in kinds
    )
    yield Finding(
        id="mixed-cores",
        severity="note",
        title=f"The cores are of {len(kinds)} kinds: {each}",
        detail="OpenMP gives each thread an equal share of the work, so that fast cores wait for slow ones. "
        f"Before measuring, {plural(len(first.cores), 'thread')} bound to the fastest kind is the one to try first: "
        "a Launch on each kind is among the candidates.",
        evidence=("host.cpu.kinds",),
    )


def measured_elsewhere(e: Evidence) -> Iterator[Said]:
    """Yield a check for each question that needs measuring, on a host that is not here."""
    plans = ", ".join(plan.title for plan in e.plans)
    for id_, title in (
        ("torch", "Whether PyTorch runs there, and with which kernels"),
        ("results", "Whether every Launch computes the same results"),
        ("speeds", f"The speed of {', '.join(w.name for w in e.workloads) or 'any workload'}"),
        ("ceilings", "How much of its ceilings the machine reaches"),
        ("launches", f"Which way to start PyTorch is fastest: {plans or 'none known'}"),
        ("gpu-speed", "The speed of its GPUs"),
        ("quiet", "What disturbs the machine"),
    ):
        if id_ != "gpu-speed" or e.host.gpus:
            yield Check(id=id_, state="unchecked", title=title, detail=ELSEWHERE)


def unknown_facts(e: Evidence) -> Iterator[Said]:
    """Yield a check for each fact that could not be read."""
    for gap in e.host.gaps:
        yield Check(id=f"gap-{gap.what}", state="unchecked", title=gap.what, detail=gap.why)


RULES: tuple[Callable[[Evidence], Iterator[Said]], ...] = (
    torch_runs,
    failures,
    shell_and_host,
    warmed_up,
    engines,
    gpu_seen_by_torch,
    expected_hardware,
    quiet_machine,
    bindings,
    mixed_cores,
    allocators,
    unknown_facts,
)

ELSEWHERE_RULES: tuple[Callable[[Evidence], Iterator[Said]], ...] = (
    expected_hardware,
    mixed_cores,
    shell_and_host,
    measured_elsewhere,
    unknown_facts,
)
"""Those that need facts only."""
