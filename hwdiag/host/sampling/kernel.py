"""Sources of samples in the kernel's tables, from files that stay open.

Sources: proc(5), Documentation/accounting/psi.rst, admin-guide/numastat.rst and admin-guide/iostats.rst of Linux.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable

from hwdiag.host.cgroup import parse_throttled, throttled_file
from hwdiag.host.disks import NOT_DATA
from hwdiag.host.model import Gap
from hwdiag.host.root import OpenFile, Root
from hwdiag.host.source import Column, Source

SECTOR = 512
"""Bytes of a sector in /proc/diskstats, whatever the disk's own."""
CPUFREQ = "/sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"
NODE = "/sys/devices/system/node/node{}/numastat"
WHOLE_DISK = "/sys/block"


def cpu_use(root: Root, absent: list[Gap]) -> Source | None:
    """Return the source of each CPU's use. Its counters step by 10 ms: at 10 samples a second a CPU's use comes in
    steps of 10 %."""
    if (file := _keep(root, absent, "/proc/stat", "use of CPUs")) is None:
        return None
    before = _cpu_times(file.text())
    ids = sorted(i for i in before if i >= 0)
    if not ids:
        absent.append(Gap(what="use of CPUs", why="/proc/stat names no CPU"))
        return None
    columns = (
        Column(name="cpu.use", unit="%", title="all CPUs busy"),
        Column(name="cpu.iowait", unit="%", title="all CPUs idle, waiting for a disk"),
        Column(name="cpu.steal", unit="%", title="taken by the hypervisor"),
        Column(name="cpu.running", unit="", title="threads that run or want to"),
        *(Column(name=f"cpu{i}.use", unit="%", title=f"CPU {i} busy") for i in ids),
    )

    def read(_: float) -> list[float]:
        nonlocal before
        text = file.text()
        now = _cpu_times(text)
        all_of_them = _shares(before.get(-1), now.get(-1))
        each = [_shares(before.get(i), now.get(i))[0] for i in ids]
        before = now
        return [*all_of_them, _number(text, "\nprocs_running "), *each]

    return Source(columns, read, file.close)


def _cpu_times(text: str) -> dict[int, tuple[int, ...]]:
    """Return the busy, iowait, steal and total ticks of each CPU; -1 is all of them. guest is part of user already."""
    times: dict[int, tuple[int, ...]] = {}
    for line in text.split("\n"):
        if not line.startswith("cpu"):
            break
        name, *fields = line.split()
        user, nice, system, idle, iowait, irq, softirq, steal = [*map(int, fields[:8]), *[0] * 8][:8]
        busy = user + nice + system + irq + softirq + steal
        times[int(name[3:] or -1)] = (busy, iowait, steal, busy + idle + iowait)
    return times


def _shares(before: tuple[int, ...] | None, now: tuple[int, ...] | None) -> list[float]:
    """Return busy, iowait and steal in percent of all that went by; NaN for a CPU that is or was offline."""
    total = now[3] - before[3] if before and now else 0
    if before is None or now is None or total <= 0:
        return [math.nan] * 3
    return [min(100.0, max(0.0, 100 * (now[i] - before[i]) / total)) for i in range(3)]


def cpu_clocks(root: Root, absent: list[Gap]) -> Source | None:
    """Return the source of each CPU's clock. /proc/cpuinfo is no stand-in: in many guests it repeats the nominal
    clock."""
    ids = root.ids("/sys/devices/system/cpu", "cpu")
    files = {i: file for i in ids if (file := root.keep(CPUFREQ.format(i))) is not None}
    if not files:
        why = root.why(CPUFREQ.format(ids[0])) if ids else "not there"
        absent.append(Gap(what="clock of CPUs", why="no cpufreq here" if why == "not there" else why))
        return None
    columns = tuple(Column(name=f"cpu{i}.clock", unit="MHz", title=f"clock of CPU {i}") for i in files)
    return Source(columns, lambda _: [_khz(file) / 1000 for file in files.values()], _closer(files.values()))


def _khz(file: OpenFile) -> float:
    try:
        return float(file.word())
    except (OSError, ValueError):  # the CPU is offline, or the driver says <unknown>
        return math.nan


def memory(root: Root, absent: list[Gap]) -> Source | None:
    """Return the source of the memory in use."""
    if (file := _keep(root, absent, "/proc/meminfo", "memory")) is None:
        return None
    columns = (
        Column(name="memory.used", unit="B", title="memory that is not available"),
        Column(name="memory.available", unit="B", title="memory available"),
        Column(name="memory.file_cache", unit="B", title="file cache"),
        Column(name="memory.dirty", unit="B", title="waiting to be written"),
        Column(name="swap.used", unit="B", title="swap in use"),
    )

    def read(_: float) -> list[float]:
        text = "\n" + file.text()
        total, available, cached, dirty, swap, free = (
            1024 * _number(text, f"\n{name}:")
            for name in ("MemTotal", "MemAvailable", "Cached", "Dirty", "SwapTotal", "SwapFree")
        )
        return [total - available, available, cached, dirty, swap - free]

    return Source(columns, read, file.close)


def paging(root: Root, absent: list[Gap]) -> Source | None:
    """Return the source of swapping, and of page faults that read a disk."""
    if (file := _keep(root, absent, "/proc/vmstat", "swapping")) is None:
        return None
    page = root.page_bytes or 4096
    columns = (
        Column(name="swap.in", unit="B/s", title="read back from swap"),
        Column(name="swap.out", unit="B/s", title="written to swap"),
        Column(name="memory.major_faults", unit="1/s", title="page faults that read a disk"),
    )

    def counters() -> list[float]:
        text = "\n" + file.text()
        pages = [_number(text, f"\n{name} ") for name in ("pswpin", "pswpout", "pgmajfault")]
        return [pages[0] * page, pages[1] * page, pages[2]]

    return Source(columns, _rates(counters), file.close)


def numa(root: Root, absent: list[Gap]) -> Source | None:
    """Return the source of NUMA hits and misses: pages that were given on the node that was wanted, or not."""
    ids = root.ids("/sys/devices/system/node", "node")
    files = {i: file for i in ids if (file := root.keep(NODE.format(i))) is not None}
    if not files:
        why = root.why(NODE.format(ids[0])) if ids else "not there"
        absent.append(Gap(what="NUMA hits and misses", why="this kernel has no NUMA" if why == "not there" else why))
        return None
    told = (("hits", "as wanted"), ("misses", "as another was full"), ("remote", "for a thread of another node"))
    columns = tuple(
        Column(name=f"node{i}.{name}", unit="1/s", title=f"pages given on node {i} {title}")
        for i in files
        for name, title in told
    )

    def counters() -> list[float]:
        texts = ["\n" + file.word().decode(errors="replace") for file in files.values()]
        return [_number(t, f"\n{name} ") for t in texts for name in ("numa_hit", "numa_miss", "other_node")]

    return Source(columns, _rates(counters), _closer(files.values()))


def disks(root: Root, absent: list[Gap]) -> Source | None:
    """Return the source of what is read from and written to each disk."""
    if (file := _keep(root, absent, "/proc/diskstats", "disks")) is None:
        return None
    names = [n for n in root.names(WHOLE_DISK) if not NOT_DATA.fullmatch(n) and f" {n} " in file.text()]
    if not names:
        absent.append(Gap(what="disks", why="no disk of this machine's own is to be seen"))
        file.close()
        return None
    columns = tuple(
        Column(name=f"{disk}.{name}", unit=unit, title=f"{disk} {title}")
        for disk in names
        for name, unit, title in (("read", "B/s", "read"), ("written", "B/s", "written"), ("busy", "%", "busy"))
    )

    def counters() -> list[float]:
        lines = {fields[2]: fields for line in file.text().split("\n") if len(fields := line.split()) > 12}
        found = [lines.get(name) for name in names]
        # Sectors read and written; milliseconds with something to do, a thousandth of which is a tenth of a percent.
        return [
            value
            for f in found
            for value in ([math.nan] * 3 if f is None else [SECTOR * int(f[5]), SECTOR * int(f[9]), int(f[12]) / 10])
        ]

    return Source(columns, _rates(counters), file.close)


def pressure(root: Root, absent: list[Gap]) -> Source | None:
    """Return the source of the share of the time in which programs waited (pressure stall information), of the whole
    machine."""
    files: dict[str, OpenFile] = {}
    for what in ("cpu", "memory", "io"):
        if (file := _keep(root, absent, f"/proc/pressure/{what}", f"pressure on {what}")) is not None:
            files[what] = file
    told = (("some", "at least one program waited"), ("full", "all programs waited"))
    columns = tuple(
        Column(name=f"pressure.{what}.{kind}", unit="%", title=f"{title} for {what}")
        for what in files
        for kind, title in told
        if (what, kind) != ("cpu", "full")  # has no meaning for the whole machine, and is 0
    )
    if not columns:
        return None

    def counters() -> list[float]:
        texts = {what: file.text() for what, file in files.items()}
        return [_stalled(texts[c.name.split(".")[1]], c.name.rpartition(".")[2]) for c in columns]

    return Source(columns, _rates(counters, most=100.0), _closer(files.values()))


def _stalled(text: str, kind: str) -> float:
    """Return the microseconds stalled so far, scaled so that their growth a second is a percentage."""
    match = re.search(rf"^{kind} .*total=(\d+)", text, re.MULTILINE)
    return int(match[1]) / 1e4 if match else math.nan


def quota(root: Root, absent: list[Gap]) -> Source | None:
    """Return the source of the time for which a CPU quota stopped this process's group."""
    path = throttled_file(root)
    file = root.keep(path) if path else None
    if file is None:
        absent.append(Gap(what="CPU quota", why="no control group here counts how long it was stopped"))
        return None
    column = Column(name="cgroup.stopped", unit="%", title="stopped by its CPU quota, summed over CPUs")

    def counters() -> list[float]:
        stopped = parse_throttled(file.text())
        return [math.nan if stopped is None else 100 * stopped]

    return Source((column,), _rates(counters), file.close)


KERNEL = (cpu_use, cpu_clocks, memory, paging, numa, disks, pressure, quota)


# Helpers


def _keep(root: Root, absent: list[Gap], path: str, what: str) -> OpenFile | None:
    """Return a file to be read again and again, or note the reason where there is none."""
    file = root.keep(path)
    if file is not None:
        try:
            file.text()
            return file
        except OSError as error:  # pressure files open, but do not read, where the kernel was told not to count
            root.note(path, (error.strerror or str(error)).lower())
            file.close()
    absent.append(Gap(what=what, why=f"{path}: {root.why(path)}"))
    return None


def _number(text: str, label: str) -> float:
    """Return the number that follows the label; NaN without it."""
    at = text.find(label)
    if at < 0:
        return math.nan
    words = text[at + len(label) : at + len(label) + 40].split(None, 1)
    return float(words[0]) if words else math.nan


def _rates(counters: Callable[[], list[float]], most: float = math.inf) -> Callable[[float], list[float]]:
    """Return a function that reads the growth of counters a second. A counter that goes backwards, as after a device
    came back, tells nothing."""
    before: list[float] = []

    def read(elapsed: float) -> list[float]:
        nonlocal before
        now, last = counters(), before or [math.nan]
        before = now
        if len(last) != len(now) or not elapsed > 0:
            return [math.nan] * len(now)
        return [min((n - b) / elapsed, most) if n >= b else math.nan for n, b in zip(now, last, strict=True)]

    return read


def _closer(files: Iterable[OpenFile]) -> Callable[[], None]:
    def close() -> None:
        for file in files:
            file.close()

    return close
