"""Probe of the CPUs: those that the program may use, who narrowed them, and whether it gets them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from hwdiag.core.finding import Check, Finding, Severity
from hwdiag.core.text import listed, plural
from hwdiag.explain.cpu_use import WAITED, CpuUse, busy_threads, cpu_use, crowd_on_a_mask
from hwdiag.explain.model import Answer, Case
from hwdiag.host.cpulist import format_cpulist
from hwdiag.process.observation.model import ObservedProcess
from hwdiag.report.format import clean, percent, seconds, shorten

WAITED_LITTLE = 0.05
STOLEN = 3.0
"""Percent of the time."""
BINDING = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY", "OMP_PROC_BIND", "OMP_PLACES", "KMP_HW_SUBSET")
"""Variables by which an OpenMP runtime narrows the CPUs of threads after the start."""
SCHEDULERS = {
    "SLURM_JOB_ID": ("Slurm", "'#SBATCH --cpus-per-task=8', and 'srun --cpus-per-task=8', or 'srun --cpu-bind=none'"),
    "PBS_JOBID": ("PBS", "'#PBS -l select=1:ncpus=8'"),
    "LSB_JOBID": ("LSF", "'#BSUB -n 8 -R \"span[hosts=1]\"'"),
    "NSLOTS": ("Grid Engine", "'#$ -pe smp 8'"),
}
"""Batch systems by a variable of theirs, and how more CPUs are asked for."""


def look(case: Case) -> Iterator[Answer]:
    """Yield what keeps it from its CPUs, and what was looked at."""
    use = cpu_use(case)
    if not use.working:
        yield Check(id="cpus", state="unchecked", title="Which CPUs it may use", detail="no process of it was seen")
        return
    yield from allowed(case, use)
    yield from sharing(use)
    yield from quota(use)
    if use.is_short:
        title, why = "Whether it waited for a CPU", f"it was there for {seconds(use.seconds)} only"
        yield Check(id="cpu-waiting", state="unchecked", title=title, detail=why)
    else:
        yield from steal(case)
        yield from waiting(use)


def allowed(case: Case, use: CpuUse) -> Iterator[Answer]:
    """Yield whether the program may run on all CPUs of the host, and who narrowed them."""
    missing = use.online - use.allowed
    count, all_ = len(use.allowed & use.online), len(use.online)
    if not missing or not count:
        yield Check(
            id="cpus-allowed",
            state="fine",
            title=f"It may run on all {plural(all_, 'CPU')} of this host",
            detail=f"{plural(len(use.working), 'process', 'processes')} looked at, with the busy threads",
        )
        return
    process = use.working[0]
    who, remedy = narrowed_by(case, use, process)
    half = count <= all_ / 2 and use.wanted > 0.5 * count
    level: Severity = "warning" if half else "note"
    names = f"CPU {format_cpulist(use.allowed)}" if count == 1 else f"CPUs {format_cpulist(use.allowed)}"
    yield Finding(
        id="cpus-narrowed",
        severity=level,
        title=f"It may use {count} of the {all_} CPUs of this host ({names}): {who}",
        detail=f"It kept {use.used:.1f} CPUs busy. Threads above the CPUs allowed only wait for each other. {remedy}",
        evidence=("program.processes",),
    )


def narrowed_by(case: Case, use: CpuUse, process: ObservedProcess) -> tuple[str, str]:
    """Return who narrowed the CPUs of a process, and how to widen them."""
    every = format_cpulist(use.online)
    again = f"taskset -c {every} {shlex.join(case.program.command)}" if case.program.command else "taskset"
    widen = (
        f"Widen the mask before the start: '{shorten(clean(again), 200)}', or take 'taskset' or 'numactl' out of what "
        f"starts it; of a process that runs 'taskset -apc {every} {process.pid}'; in Python, before torch is imported, "
        f"'os.sched_setaffinity(0, range({max(use.online) + 1}))'. Then start it again: the number of threads was "
        "decided by the mask at the start."
    )
    env = process.environment
    first = frozenset(process.first_allowed) or use.allowed
    if use.online - first:
        scheduler = next((told for name, told in SCHEDULERS.items() if name in env), None)
        group = process.cgroup.cpuset
        if scheduler is not None:
            return f"{scheduler[0]} gave the job no more", f"Ask for more: {scheduler[1]}."
        if group is not None and not (first - frozenset(group)) and len(group) < len(use.online):
            return (
                f"the cpuset of its control group {clean(process.cgroup.path)}",
                "Widen it where the container or unit is defined: 'docker run --cpuset-cpus', AllowedCPUs= of the "
                "systemd unit, whole CPUs under the static CPU manager of Kubernetes; taskset cannot go beyond it.",
            )
        by = "was narrowed before the start, by what started it" if use.online - use.own else "its own command"
        if use.online - use.own:
            return f"the affinity mask {by} (taskset, a batch system, a wrapper, CPUAffinity= of systemd)", widen
        return f"the affinity mask was narrowed by {by} (taskset, numactl or a wrapper in it)", widen
    names = [name for name in BINDING if name in env]
    if names:
        told = listed(f"{name}={clean(env[name])}" for name in names)
        return f"its OpenMP runtime bound it after the start ({told})", f"Remove it: 'unset {' '.join(names)}'."
    return (
        "the program, or a library that it imports, narrowed its affinity mask after the start (sched_setaffinity)",
        f"Find who: 'strace -f -e trace=sched_setaffinity {shorten(clean(shlex.join(case.program.command)), 100)}'. "
        f"Widen it after the imports: 'os.sched_setaffinity(0, range({max(use.online) + 1}))'; of a process that runs: "
        f"'taskset -apc {every} {process.pid}'.",
    )


def quota(use: CpuUse) -> Iterator[Answer]:
    """Yield whether a quota stops the program."""
    if use.quota is None:
        return
    cpus = f"{use.quota:g} {'CPU' if use.quota == 1 else 'CPUs'}"
    threads = max(len(busy_threads(p)) for p in use.working)
    stopped = f"{seconds(use.throttled_s)} of CPU time in {seconds(use.seconds)}"
    if use.quota >= len(use.allowed) or not (use.is_throttled or threads > use.quota):
        title = f"Its quota of {cpus} did not stop it"
        yield Check(id="cpu-quota", state="fine", title=title, detail=f"stopped for {stopped}")
        return
    whole = max(1, int(use.quota))
    yield Finding(
        id="cpu-quota",
        severity="warning" if use.is_throttled else "note",
        title=f"Its CPU quota of {cpus} stopped it for {stopped}"
        if use.is_throttled
        else f"It runs {plural(threads, 'busy thread')} under a CPU quota of {cpus}",
        detail=f"It ran up to {plural(threads, 'busy thread')} in one process; torch starts one for each of the "
        f"{plural(len(use.allowed), 'CPU')} that it sees, and the control group (cpu.max, cfs_quota) stops all of them "
        f"when their time is used up. Start as many as the quota has CPUs: 'export OMP_NUM_THREADS={whole}', or "
        f"'torch.set_num_threads({whole})'. Or raise the quota: 'docker run --cpus', resources.limits.cpu in "
        "Kubernetes, CPUQuota= of the systemd unit.",
        evidence=("program.processes",),
    )


def sharing(use: CpuUse) -> Iterator[Answer]:
    """Yield a finding where busy threads sit on one CPU by their masks, while others are allowed elsewhere."""
    crowd = crowd_on_a_mask(use)
    if crowd is None:
        return
    mask, on_it = crowd
    spare = use.allowed - mask
    owners = {p.pid: p for p, _ in on_it}
    names = sorted({name for p in owners.values() for name in BINDING if name in p.environment})
    cause = f": {listed(names)} binds the main thread, and what it starts inherits that" if names else ""
    remedy = f"Remove it: 'unset {' '.join(names)}'. Or, for" if names else "For"
    where = f"CPU{'s' if len(mask) > 1 else ''} {format_cpulist(mask)}"
    yield Finding(
        id="threads-share-a-cpu",
        severity="warning",
        title=f"{plural(len(on_it), 'busy thread')} share {where}, and may not use CPU {format_cpulist(spare)}{cause}",
        detail=f"They are in {plural(len(owners), 'process', 'processes')} (PID "
        f"{listed(map(str, [*owners][:6]))}). {remedy} workers of a DataLoader, widen the mask in each: "
        f"worker_init_fn=lambda i: os.sched_setaffinity(0, range({max(use.online) + 1})).",
        evidence=("program.processes",),
    )


def steal(case: Case) -> Iterator[Answer]:
    """Yield a finding where the hypervisor took the CPUs away."""
    stolen = case.program.machine.get("cpu.steal")
    if stolen is not None and stolen >= STOLEN:
        yield Finding(
            id="cpu-steal",
            severity="warning" if stolen >= 10 else "note",
            title=f"The hypervisor gave {stolen:.0f} % of the CPU time to other virtual machines",
            detail="Only who runs the host can change that: another host, an instance type with CPUs of its own, no "
            "burstable type whose credits are used up.",
            evidence=("program.machine",),
        )


def waiting(use: CpuUse) -> Iterator[Answer]:
    """Yield a finding where the program waited for CPUs, for a reason that was not found."""
    share = use.wait_share
    if share is None:
        why = "this kernel does not report it (CONFIG_SCHED_INFO)"
        yield Check(id="cpu-waiting", state="unchecked", title="Whether it waited for a CPU", detail=why)
    elif share >= WAITED and use.others < 0.1 * use.capacity and not (use.is_crowded or use.is_throttled):
        yield Finding(
            id="cpu-waiting",
            severity="note",
            title=f"Its threads waited for a CPU {percent(share)} of the time in which they could run",
            detail=f"It may use {use.capacity:g} CPUs and kept {use.used:.1f} busy; other programs that were seen used "
            f"{use.others:.1f}. Bursts of many threads wait so, as well as what runs too shortly to be seen.",
            evidence=("program.processes",),
        )
    elif share < WAITED:
        yield Check(
            id="cpu-waiting",
            state="fine",
            title=f"It {'hardly' if share < WAITED_LITTLE else 'seldom'} waited for a CPU",
            detail=f"{percent(share)} of the time in which its threads could run; it kept {use.used:.1f} of "
            f"{use.capacity:g} CPUs busy",
        )
