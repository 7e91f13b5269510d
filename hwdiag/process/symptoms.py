"""Questions of the troubleshooting kind, each answered by a check of what was read or measured here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from hwdiag.core.finding import Check, Finding
from hwdiag.core.text import plural
from hwdiag.host.activity import Activity
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.host.settings import is_active, mounts
from hwdiag.process.gpu_symptoms import Answer, about_clock, about_gaps, about_link, about_xids
from hwdiag.process.model import Disturbance
from hwdiag.process.storage import ReadSpeed

CPU_LOW_CLOCK = 0.7
FREE_SHARE = 0.1
"""Share of memory that is available above which swapping in is not for want of memory."""
DEEP_US = 100
"""Wake-up time of an idle state from which on it is called deep."""
SLOW_READ = 0.7
"""Share of the disk's own speed below which reading a file in order is slow."""

TUNERS = {
    "tuned.service": "TuneD",
    "tlp.service": "TLP",
    "power-profiles-daemon.service": "power-profiles-daemon",
    "auto-cpufreq.service": "auto-cpufreq",
    "system76-power.service": "system76-power",
}
"""Services that set the same things by themselves."""


class Disturbed(Protocol):
    """A measurement, as far as its surroundings go."""

    @property
    def id(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def disturbance(self) -> Disturbance: ...


@dataclass(frozen=True)
class Seen:
    """All that the questions look at."""

    host: Host
    activity: Activity
    others: Mapping[str, str]
    """Settings by their place."""
    tuners: tuple[str, ...] | None = None
    """Services that set the same things; None where nobody could look."""
    folder: tuple[str, str] | None = None
    """The models' folder, and the type of the file system that it is on."""
    read: ReadSpeed | None = None
    measurements: tuple[Disturbed, ...] = ()


def tuners(root: Root) -> tuple[str, ...] | None:
    """Return the services that run here and set the same things; None where systemd's units cannot be seen."""
    if not root.exists("/run/systemd/units"):
        return None
    return tuple(name for unit, name in TUNERS.items() if is_active(root, unit))


def file_system(root: Root, folder: str) -> tuple[str, str] | None:
    """Return the folder, and the type of the file system that it is on."""
    fitting = [(p, kind) for p, kind, *_ in mounts(root) if folder == p or folder.startswith(p.rstrip("/") + "/")]
    return (folder, max(fitting, key=lambda m: len(m[0]))[1]) if fitting else None


def answers(seen: Seen) -> tuple[Answer, ...]:
    """Return an answer to each question, as far as it can be told here."""
    return tuple(a for ask in QUESTIONS for a in ask(seen))


def symptoms(found: Iterable[Answer]) -> dict[str, str]:
    """Return the findings that speak for a change of a setting, by the name under which rules ask for them."""
    return {f.id: f.title for f in found if isinstance(f, Finding)}


# The questions


def gpu_clocks(seen: Seen) -> Iterator[Answer]:
    """Yield whether a GPU is under its clock or its link, and why."""
    for gpu in seen.activity.gpus or seen.host.gpus:
        yield from about_clock(gpu)
        yield from about_link(gpu)


def gpu_health(seen: Seen) -> Iterator[Answer]:
    """Yield what is wrong with GPUs that cannot be used, or that failed since boot."""
    yield from about_gaps(seen.host)
    yield from about_xids(seen.host)


def cpu_clock(seen: Seen) -> Iterator[Answer]:
    """Yield whether the CPU computed below its clock."""
    most = max((c.max_mhz for c in seen.host.cpu.logical if c.max_mhz), default=None)
    ran = [m.disturbance.mhz for m in seen.measurements if m.device == "cpu" and m.disturbance.mhz]
    title = "CPU clock under load"
    if most is None or not ran:
        yield Check(id="cpu-below-clock", state="unchecked", title=title, detail="not measured")
        return
    clock = f"{median(ran):.0f} of {most:.0f} MHz in the middle of {plural(len(ran), 'run')}"
    governor = seen.host.cpu.governor or "unknown"
    if median(ran) < CPU_LOW_CLOCK * most and governor != "performance":
        yield Finding(
            id="cpu-below-clock",
            severity="note",
            title=f"The CPU computed below its clock: {clock}",
            detail=f"Its governor is {governor}. 'performance' may help; so does less heat, and with all cores busy "
            f"the "
            "highest clock is out of reach on any machine.",
            evidence=tuple(m.id for m in seen.measurements if m.disturbance.mhz)[:5],
        )
    else:
        yield Check(id="cpu-below-clock", state="fine", title="The CPU computed near its clock", detail=clock)


def idle_states(seen: Seen) -> Iterator[Answer]:
    """Yield the idle states that are on."""
    states: dict[str, list[bool]] = {}
    for where, off in seen.others.items():
        if where.endswith("/disable") and "/cpuidle/" in where:
            latency = seen.others.get(where.replace("/disable", "/latency"), "")
            if latency.isdecimal() and int(latency) >= DEEP_US:
                name = seen.others.get(where.replace("/disable", "/name"), where.split("/")[-2])
                states.setdefault(f"{name} ({latency} µs)", []).append(off == "0")
    title = "Deep idle states of the CPU"
    if not states:
        yield Check(id="idle-states", state="unchecked", title=title, detail="this host reports none")
        return
    mixed = [name for name, on in states.items() if any(on) and not all(on)]
    told = ", ".join(f"{name} on {sum(on)} of {plural(len(on), 'CPU')}" for name, on in states.items())
    if mixed:
        yield Finding(
            id="idle-states",
            severity="note",
            title="Idle states are disabled on some CPUs and enabled on others",
            detail=f"{told}. Somebody disabled them, and CPUs that came online later, or a resume, enabled them again.",
            evidence=("audit.rows",),
        )
    else:
        yield Check(id="idle-states", state="fine", title=f"{title}: the same on all", detail=told)


def swapping(seen: Seen) -> Iterator[Answer]:
    """Yield whether there is swapping while memory is free."""
    pages, memory = seen.activity.swapped_in_pages, seen.host.memory
    title = "Swapping while memory is free"
    if pages is None or not seen.activity.seconds:
        yield Check(id="swapping-while-free", state="unchecked", title=title, detail="it was not watched")
        return
    during = [m for m in seen.measurements if (m.disturbance.swapped_bytes or 0) > 0]
    free = (memory.available_bytes or 0) / (memory.total_bytes or 1)
    waited = seen.activity.memory_stall
    stall = "" if waited is None else f"; programs waited for memory {waited:.0%} of the time"
    came = f"{plural(pages, 'page')} read from swap in {seen.activity.seconds:.1f} s"
    told = f"{came}, {free:.0%} of memory available{stall}"
    if (pages > 0 or during) and free > FREE_SHARE:
        yield Finding(
            id="swapping-while-free",
            severity="warning",
            title=f"Programs were read back from swap while {free:.0%} of the memory was available",
            detail=f"{told}. vm.swappiness says how readily they are swapped out.",
            evidence=("audit.activity", *(m.id for m in during[:3])),
        )
    else:
        yield Check(id="swapping-while-free", state="fine", title="No swapping while memory is free", detail=told)


def packets(seen: Seen) -> Iterator[Answer]:
    """Yield whether the kernel drops packets."""
    dropped = seen.activity.dropped_packets
    if dropped:
        yield Finding(
            id="dropped-packets",
            severity="note",
            title=f"{plural(dropped, 'packet')} did not fit a CPU's queue since boot",
            detail="The second column of /proc/net/softnet_stat. If it grows, net.backlog is the setting.",
            evidence=("audit.activity.dropped_packets",),
        )
    elif dropped == 0:
        yield Check(id="dropped-packets", state="fine", title="No packets dropped since boot (no queue overflowed)")


def queues(seen: Seen) -> Iterator[Answer]:
    """Yield the queue depth and read-ahead of each disk."""
    for disk in seen.host.disks:
        depth = seen.others.get(f"/sys/block/{disk.name}/device/queue_depth")
        requests = seen.others.get(f"/sys/block/{disk.name}/queue/nr_requests")
        if requests is None:
            continue
        takes = f", the disk takes {plural(int(depth), 'command')} at a time" if depth and depth.isdecimal() else ""
        detail = (
            f"scheduler {disk.scheduler}, {requests} requests wait in the kernel{takes}, {disk.read_ahead_kb} kB ahead"
        )
        yield Check(id=f"queue:{disk.name}", state="fine", title=f"Queue of {disk.name}", detail=detail)


def storage(seen: Seen) -> Iterator[Answer]:
    """Yield whether the storage below the models is slow."""
    title = "Storage below the models"
    if seen.folder is None:
        yield Check(id="storage", state="unchecked", title=title, detail="no folder was given (parameter models)")
        return
    folder, kind = seen.folder
    if kind in ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs") or kind.startswith("fuse"):
        yield Finding(
            id="storage-remote",
            severity="warning",
            title=f"{folder} is on {kind}: each load comes over a network or through another program",
            detail="Keep what is loaded often on a local disk.",
            evidence=("audit.folder",),
        )
    if seen.read is None:
        detail = f"on {kind}; no file there could be read for a test"
        yield Check(id="storage", state="unchecked", title=title, detail=detail)
        return
    told = f"{seen.read.buffered / 1e9:.2f} GB/s in order with {kind}"
    if seen.read.direct is None:
        yield Check(id="storage", state="unchecked", title=title, detail=f"{told}; its own speed could not be measured")
        return
    told += f", {seen.read.direct / 1e9:.2f} GB/s past the file cache"
    if seen.read.buffered < SLOW_READ * seen.read.direct:
        yield Finding(
            id=f"slow-cold-read:{seen.read.disk}" if seen.read.disk else "slow-cold-read",
            severity="note",
            title=f"A large file is read slower than its disk can: {told}",
            detail="More read-ahead (io.read_ahead) may help a program that reads whole files in order.",
            evidence=("audit.read",),
        )
    else:
        yield Check(id="storage", state="fine", title=f"{title} is read as fast as it is", detail=told)


def fight(seen: Seen) -> Iterator[Answer]:
    """Yield whether a service sets the same things."""
    if seen.tuners is None:
        why = "systemd's units cannot be seen here: /run/systemd/units is not there"
        yield Check(id="tuners", state="unchecked", title="Services that set the same things", detail=why)
        return
    if not seen.tuners:
        looked = f"none of {', '.join(TUNERS.values())} is started by systemd"
        yield Check(id="tuners", state="fine", title="No service sets the same things by itself", detail=looked)
        return
    names = " and ".join(seen.tuners)
    yield Finding(
        id="tuners",
        severity="warning" if len(seen.tuners) > 1 else "note",
        title=f"{names} {'run' if len(seen.tuners) > 1 else 'runs'} here and may set the same things again",
        detail="Their values win whenever they act. Give them the values instead (hwdiag writes a TuneD profile), or "
        "stop all but one.",
        evidence=("audit.tuners",),
    )


QUESTIONS = (gpu_clocks, gpu_health, cpu_clock, idle_states, swapping, packets, queues, storage, fight)
