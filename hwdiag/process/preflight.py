"""Preflight: what this shell and this host hand to a program that is started here, and what of that holds it back.

``hwdiag host``, ``audit``, ``check`` and ``run`` ask the same questions, each of them a function of plain facts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from hwdiag.core.finding import Check, Finding
from hwdiag.core.text import plural
from hwdiag.host.cpulist import format_cpulist
from hwdiag.host.model import Host, Isa
from hwdiag.process.ancestry import Ancestor, ancestors, narrowed_words, origin_words
from hwdiag.process.environment.judge import TITLE as VARIABLES_TITLE
from hwdiag.process.environment.judge import about_variables, host_context
from hwdiag.process.environment.model import ProcessContext
from hwdiag.process.model import Software

Answer = Finding | Check

SMALL_SHM = 1 << 29
"""Bytes of /dev/shm below which a few workers fill it: Docker gives 64 MiB, and a batch of 32 pictures takes 18."""
FULL_SHM = 0.1
"""Share that is free below which it is called nearly full."""
FEW_FILES = 1024
"""Open files below which a program is unusually limited: 1024 is what Linux gives by itself."""
ROOM_FOR_TASKS = 64
"""Processes and threads for which there should be room, beside four for each CPU."""
NOT_THIS_HOST = "only on the host itself: a snapshot has no shell"

CPU_TYPE_HOST = (
    "In the virtual machine's settings choose the CPU type 'host' (Proxmox: CPU type host; QEMU: -cpu host; libvirt: "
    "host-passthrough); it can then only move to hosts whose CPU has them too."
)


@dataclass(frozen=True)
class Ground:
    """The host, environment and software of a program that is started here."""

    host: Host
    environment: Mapping[str, str]
    software: Software | None = None
    """The PyTorch that was asked here, if one was."""

    @cached_property
    def chain(self) -> tuple[Ancestor, ...]:
        """Return this process and its parents."""
        return ancestors()

    @cached_property
    def context(self) -> ProcessContext:
        """Return the context by which variables are judged."""
        return host_context(self.host, self.environment, software=self.software)

    @property
    def seen(self) -> Software | None:
        """Return the software, if it came up."""
        return self.software if self.software is not None and self.software.outcome.ok else None


def preflight(
    host: Host, *, environment: Mapping[str, str] | None = None, software: Software | None = None
) -> tuple[Answer, ...]:
    """Return an answer to each question, as far as it can be told.

    Args:
        host: the facts; of a snapshot, only what they tell is judged.
        environment: variables that a program would inherit; None takes ours.
        software: the PyTorch that was started here: what was seen of it counts more than what a value should do.
    """
    ground = Ground(host, os.environ if environment is None else environment, software)
    return tuple(answer for ask in QUESTIONS for answer in ask(ground))


# The questions


def variables(ground: Ground) -> Iterator[Answer]:
    """Yield findings on inherited variables that mislead the libraries."""
    if not ground.host.is_here:
        yield Check(id="environment", state="unchecked", title=VARIABLES_TITLE, detail=NOT_THIS_HOST)
        return
    yield from about_variables(
        ground.context,
        origin=lambda name, value: origin_words(ground.chain, name, value),
        evidence="software.environment",
    )


def affinity(ground: Ground) -> Iterator[Answer]:
    """Yield whether a program may use fewer CPUs than the host has."""
    host = ground.host
    online, may = host.cpu.online, host.usable_cpus
    if not online:
        yield Check(id="affinity", state="unchecked", title="CPUs that programs may use", detail="not known")
    elif len(may) == len(online):
        yield Check(
            id="affinity", state="fine", title=f"Programs started here may use all {plural(len(online), 'CPU')}"
        )
    else:
        by_cpuset = host.limits.cpuset is not None and set(may) == set(host.limits.cpuset) & set(online)
        job = os.environ.get("SLURM_JOB_ID") if host.is_here else None
        yield Finding(
            id="narrow-affinity",
            severity="note" if by_cpuset and job is None else "warning",
            title=f"Programs started here may use {len(may)} of {plural(len(online), 'CPU')}: "
            f"CPU {format_cpulist(may)}",
            detail=" ".join(filter(None, (narrowing(ground, by_cpuset, job), widening(online, by_cpuset, job)))),
            evidence=("host.limits.allowed",),
        )


def narrowing(ground: Ground, by_cpuset: bool, job: str | None) -> str:
    """Return who took the other CPUs away, as far as it shows."""
    if by_cpuset:
        return "The cpuset of its control group leaves no others" + (f", that of Slurm job {job}." if job else ".")
    shown = narrowed_words(ground.chain, ground.host.usable_cpus) if ground.host.is_here else ""
    return " ".join(filter(None, (shown, f"It runs in Slurm job {job}." if job else "")))


def widening(online: Sequence[int], by_cpuset: bool, job: str | None) -> str:
    """Return how to get the CPUs back."""
    if job is not None:
        return "Ask Slurm for more with --cpus-per-task, and check --cpu-bind of srun."
    if by_cpuset:
        return (
            "If it should have more: --cpuset-cpus of Docker, the static CPU manager's requests in Kubernetes, "
            "AllowedCPUs= of a systemd unit."
        )
    return f"`taskset -cp {format_cpulist(online)} $$` gives this shell all of them again."


def quota(ground: Ground) -> Iterator[Answer]:
    """Yield a finding where a CPU quota pays for fewer CPUs than a program sees."""
    host, paid = ground.host, ground.host.limits.cpu_quota
    may = len(host.usable_cpus)
    if paid is None or paid >= may:
        return
    right = ground.context.fair_threads
    threads = None if ground.seen is None else ground.seen.threads
    title = f"A CPU quota pays for {plural(paid, 'CPU')} of {may}"
    if threads is not None and threads <= paid + 0.5:
        yield Check(id="quota", state="fine", title=f"{title}, and torch starts {plural(threads, 'thread')}")
        return
    starts = f"torch starts {threads}" if threads is not None else f"libraries start up to {may}"
    yield Finding(
        id="quota-below-cpus",
        severity="warning",
        title=f"{title}: {starts} threads, and the kernel throttles what exceeds it",
        detail="Libraries count CPUs and not the quota: once the quota of a period is used up, all threads stop until "
        f"the next (cpu.max, cpu.cfs_quota_us). Start as many threads as it pays for, `export OMP_NUM_THREADS={right}` "
        f"or torch.set_num_threads({right}), or raise the quota: resources.limits.cpu in Kubernetes, --cpus of Docker, "
        "CPUQuota= of a systemd unit.",
        evidence=("host.limits.cpu_quota", *(("software.threads",) if threads is not None else ())),
    )


def threads(ground: Ground) -> Iterator[Answer]:
    """Yield whether torch starts as many threads as suit the CPUs."""
    software, context = ground.seen, ground.context
    if software is None or software.threads is None or not context.cpus:
        return
    paid = ground.host.limits.cpu_quota
    if paid is not None and paid < len(context.cpus):
        return  # the quota's question
    starts = min(software.threads, software.thread_limit or software.threads)
    counts = f"{plural(starts, 'thread')} on {plural(len(context.cpus), 'CPU')}"
    bound = software.main_cpus is not None and len(software.main_cpus) < len(context.cpus)
    if starts > len(context.cpus):
        yield Finding(
            id="more-threads-than-cpus",
            severity="warning",
            title=f"torch starts {counts}",
            detail="More threads than CPUs take turns, and each parallel operation waits for the one that comes last. "
            f"`export OMP_NUM_THREADS={context.fair_threads}` suits them.",
            evidence=("host.limits", "software.threads"),
        )
    elif starts < context.fair_threads:
        if not any(name.endswith(("_NUM_THREADS", "_THREAD_LIMIT")) for name in context.environment):
            yield Finding(
                id="fewer-threads-than-cores",
                severity="note",
                title=f"torch starts {counts}, and no inherited variable asks for so few",
                detail=f"Something that is imported with it may set them. `export OMP_NUM_THREADS="
                f"{context.fair_threads}` or torch.set_num_threads({context.fair_threads}) sets them right.",
                evidence=("software.threads",),
            )
    elif not bound:
        yield Check(id="threads", state="fine", title=f"torch starts {counts}, by what it says after its import")


def shared_memory(ground: Ground) -> Iterator[Answer]:
    """Yield whether /dev/shm is large enough for DataLoader workers."""
    limits, title = ground.host.limits, "Shared memory for DataLoader workers (/dev/shm)"
    if limits.shared_memory_bytes is None:
        yield Check(id="shared-memory", state="unchecked", title=title, detail="its size is not known")
    else:
        yield about_shared_memory(limits.shared_memory_bytes, limits.shared_memory_free_bytes)


def about_shared_memory(size: int, free: int | None) -> Answer:
    """Return what a /dev/shm of this size means; ``free`` in bytes as well."""
    larger = (
        "Give it more: --shm-size=8g or --ipc=host of Docker, an emptyDir with medium: Memory at /dev/shm in "
        "Kubernetes, `mount -o remount,size=8G /dev/shm` as root on a host; or keep batches small and workers few."
    )
    why = "Workers hand each batch over in it; where it is full they die of SIGBUS ('Bus error ... insufficient shared "
    why += "memory')."
    if size < SMALL_SHM:
        held = f"holds {size / 2**20:.0f} MiB" if size else "is not there"
        return Finding(
            id="small-shared-memory",
            severity="warning",
            title=f"/dev/shm {held}: too little for DataLoader workers",
            detail=f"{why} {larger}",
            evidence=("host.limits.shared_memory_bytes",),
        )
    if free is not None and free < FULL_SHM * size:
        return Finding(
            id="full-shared-memory",
            severity="warning",
            title=f"/dev/shm is nearly full: {free / 2**20:.0f} of {size / 2**20:.0f} MiB are free",
            detail=f"{why} `ls -l /dev/shm` shows what lies there: programs that were killed leave torch_* and sem.* "
            f"files behind. {larger}",
            evidence=("host.limits.shared_memory_free_bytes",),
        )
    return Check(
        id="shared-memory", state="fine", title=f"/dev/shm holds {size / 2**30:.1f} GiB for DataLoader workers"
    )


def files(ground: Ground) -> Iterator[Answer]:
    """Yield whether the limit of open files suffices."""
    limit = ground.host.limits.nofile
    if limit is None:
        yield Check(id="open-files", state="unchecked", title="Limit of open files", detail="not known")
        return
    soft, hard = limit
    if soft is not None and soft < FEW_FILES:
        most = "unlimited" if hard is None else hard
        here = (
            f"`ulimit -n {min(hard or 65536, 65536)}` raises it in this shell (up to {most})"
            if hard is None or hard > soft
            else "Its hard limit is the same, which only root raises: 'nofile' in /etc/security/limits.conf and a new "
            "login"
        )
        yield Finding(
            id="few-open-files",
            severity="warning",
            title=f"A program may have {soft} files open (ulimit -n)",
            detail="DataLoader workers pass each tensor as an open file: 'Too many open files' ends them. "
            f"{here}, LimitNOFILE= in a systemd unit, --ulimit nofile= of Docker. "
            "torch.multiprocessing.set_sharing_strategy('file_system') needs none.",
            evidence=("host.limits.nofile",),
        )
    else:
        told = "any number of files" if soft is None else f"{soft} files"
        more = "" if hard == soft else f"`ulimit -n` may raise it to {'any number' if hard is None else hard}"
        yield Check(id="open-files", state="fine", title=f"A program may have {told} open", detail=more)


def tasks(ground: Ground) -> Iterator[Answer]:
    """Yield whether the limits of processes and threads suffice."""
    limits = ground.host.limits
    need = ROOM_FOR_TASKS + 4 * len(ground.host.usable_cpus)
    room = None if limits.pids is None else limits.pids - (limits.pids_now or 0)
    soft = limits.processes[0] if limits.processes else None
    if room is not None and room < need:
        yield Finding(
            id="few-processes",
            severity="warning",
            title=f"The control group allows {limits.pids} processes and threads, and has {limits.pids_now or 'some'}",
            detail="Each thread counts: 'Resource temporarily unavailable' or 'Thread creation failed' ends what needs "
            "more. Raise it: --pids-limit of Docker, podPidsLimit of Kubernetes, TasksMax= of a systemd unit.",
            evidence=("host.limits.pids",),
        )
    elif soft is not None and soft < need:
        yield Finding(
            id="few-processes",
            severity="warning",
            title=f"A user may have {soft} processes and threads (ulimit -u)",
            detail="Each thread counts, of all programs of this user: 'Resource temporarily unavailable' or 'Thread "
            f"creation failed' ends what needs more. `ulimit -u {max(need, 4096)}` raises it as far as it may be, "
            "LimitNPROC= in a systemd unit. It does not bind root.",
            evidence=("host.limits.processes",),
        )
    elif room is not None or limits.processes is not None:
        told = [f"{limits.pids} in the control group"] if limits.pids is not None else []
        told += [f"{'any number' if soft is None else soft} of a user"] if limits.processes else []
        yield Check(id="processes", state="fine", title="More processes and threads can start", detail="; ".join(told))


def address_space(ground: Ground) -> Iterator[Answer]:
    """Yield a finding where the memory is limited that one process may map."""
    limit, memory = ground.host.limits.address_space_bytes, ground.host.memory.total_bytes
    soft = limit[0] if limit else None
    if soft is not None:
        share = "" if memory is None else f", and the host has {memory / 2**30:.1f} GiB of memory"
        yield Finding(
            id="limited-address-space",
            severity="warning",
            title=f"A process may map {soft / 2**30:.3g} GiB (ulimit -v){share}",
            detail="Threads and libraries map far more than they use: 'cannot allocate memory' or MemoryError comes "
            "while memory is free, and CUDA does not start. `ulimit -v unlimited` lifts it.",
            evidence=("host.limits.address_space_bytes",),
        )


def compilers(ground: Ground) -> Iterator[Answer]:
    """Yield whether the compiler is there that torch.compile starts."""
    found = ground.host.system.compilers
    title = "A C++ compiler for torch.compile"
    if found is None:
        yield Check(id="compiler", state="unchecked", title=title, detail=NOT_THIS_HOST)
    elif "g++" in found or (ground.environment.get("CXX") and ground.host.is_here):
        named = ground.environment.get("CXX") or "g++"
        yield Check(id="compiler", state="fine", title=f"{title}: {named[:60]} is there")
    else:
        other = next((name for name in found if name in ("clang++", "c++")), None)
        use = f"`export CXX={other}` has it take {other}, which is there; or i" if other else "I"
        yield Finding(
            id="no-compiler",
            severity="note",
            title="There is no C++ compiler g++ on PATH: torch.compile fails on the CPU",
            detail="TorchInductor starts it for every graph and ends with InvalidCxxCompiler where it is missing. "
            f"{use}nstall it: apt install g++, dnf install gcc-c++, conda install gxx_linux-64.",
            evidence=("host.system.compilers",),
        )


def instructions(ground: Ground) -> Iterator[Answer]:
    """Yield whether something hides instructions that the processor has."""
    isa = ground.host.cpu.isa
    if isa is not None:
        yield from about_hidden(isa, ground.host.system.arch)


def about_hidden(isa: Isa, arch: str) -> Iterator[Answer]:
    """Yield what hides instructions, and the way to get them."""
    for hidden in isa.hidden:
        features = ", ".join(hidden.features) or "some features"
        advice = {
            "hypervisor": CPU_TYPE_HOST,
            "kernel": "Whoever set that option may have had a reason, such as a defect of this CPU: ask first.",
        }[hidden.by]
        yield Finding(
            id=f"hidden-by-{hidden.by}",
            severity="warning",
            title=f"The {hidden.by} hides {features}: {hidden.why}",
            detail=f"Numeric libraries then take slower kernels. {advice}",
            evidence=("host.cpu.isa.hidden", "host.system.cmdline"),
        )
    if not isa.hidden and arch in ("x86_64", "aarch64"):
        yield Check(id="hidden-isa", state="fine", title="No CPU features are masked")


QUESTIONS: tuple[Callable[[Ground], Iterator[Answer]], ...] = (
    variables,
    threads,
    affinity,
    quota,
    shared_memory,
    files,
    tasks,
    address_space,
    compilers,
    instructions,
)
