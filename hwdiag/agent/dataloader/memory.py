"""Memory of a process and of all that it started, as /proc/*/smaps tells it. Standard library only."""

import os
import re

from .. import tree

SHM = "/dev/shm/"


def process_bytes(pid):
    """Return a process's proportional share of its memory (Pss), and its own part, both without shared memory; 0 where
    it ended."""
    for name in ("smaps_rollup", "smaps"):
        try:
            with open("/proc/%d/%s" % (pid, name), errors="replace") as lines:
                text = lines.read()
        except OSError:
            continue
        if name == "smaps_rollup" and "Pss_Shmem" not in text:
            continue  # before Linux 5.2
        parts = [text]
        if name == "smaps":
            parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.MULTILINE)
            parts = [part for part in parts if SHM not in part.partition("\n")[0]]
        share, shared, alone = (
            sum(total(part, field) for part in parts) for field in ("Pss", "Pss_Shmem", r"Private_\w+")
        )
        return share - shared, max(0, alone - shared)
    return 0, 0


def threads_of(pid):
    """Return the number of a process's threads; 0 where it ended."""
    try:
        return len(os.listdir("/proc/%d/task" % pid))
    except OSError:
        return 0


def oom_kills():
    """Return the number of processes that the kernel killed for want of memory since boot (/proc/vmstat, Linux
    4.13)."""
    try:
        with open("/proc/vmstat") as lines:
            found = re.search(r"^oom_kill (\d+)$", lines.read(), re.MULTILINE)
    except OSError:
        return 0
    return int(found.group(1)) if found else 0


def total(text, field):
    return sum(int(kib) << 10 for kib in re.findall(r"^%s:\s+(\d+) kB$" % field, text, re.MULTILINE))


def shared_bytes(pids):
    """Return the shared memory that these processes have mapped, open, or named (shm_open(3)), each object once."""
    found = {}
    for pid in pids:
        try:
            with open("/proc/%d/maps" % pid, errors="replace") as maps:
                for line in maps:
                    if SHM in line:
                        place, _, _, _, inode = line.split(None, 5)[:5]
                        first, last = (int(end, 16) for end in place.split("-"))
                        found[inode] = max(found.get(inode, 0), last - first)
            for name in os.listdir("/proc/%d/fd" % pid):
                path = "/proc/%d/fd/%s" % (pid, name)
                if os.readlink(path).startswith(SHM):
                    about = os.stat(path)
                    found[str(about.st_ino)] = max(found.get(str(about.st_ino), 0), about.st_size)
        except (OSError, ValueError):
            continue
    for path in named(pids):
        try:
            about = os.stat(path)
        except OSError:
            continue
        found[str(about.st_ino)] = max(found.get(str(about.st_ino), 0), about.st_size)
    return sum(found.values())


def named(pids):
    """Yield the files of shared memory that torch made for these processes (sharing strategy file_system)."""
    for name in os.listdir(SHM):
        owner = re.match(r"torch_(\d+)_", name)
        if owner and int(owner.group(1)) in pids:
            yield SHM + name


def remove_shared(pids):
    """Remove what they left: torch's own manager, which does that, was killed with them."""
    for path in list(named(pids)):
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass


class Peaks:
    """The most that was held of memory, over several looks."""

    def __init__(self, top, trial):
        self.top, self.trial = top, trial
        self.alone, self.shared, self.apart, self.totals, self.threads = {}, 0, 0, [], 0

    def look(self):
        """Look once, and return what is held now, in bytes."""
        pids = tree.below(self.top) | {self.top}
        held = {pid: process_bytes(pid) for pid in pids}
        for pid, (_, alone) in held.items():
            self.alone[pid] = max(self.alone.get(pid, 0), alone)
            if pid not in (self.top, self.trial):
                self.threads = max(self.threads, threads_of(pid))
        apart, shared = sum(share for share, _ in held.values()), shared_bytes(pids)
        self.apart, self.shared = max(self.apart, apart), max(self.shared, shared)
        self.totals.append(apart + shared)
        return self.totals[-1]

    def found(self):
        """Return the peaks: of all at one time, without and with shared memory; of shared memory; of each worker,
        summed; and the most threads of a worker."""
        workers = sum(alone for pid, alone in self.alone.items() if pid not in (self.top, self.trial))
        held = max(self.totals, default=0)
        return {
            "held": held,
            "apart": self.apart,
            "shared": self.shared,
            "workers": workers,
            "threads": self.threads,
        }
