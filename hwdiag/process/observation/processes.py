"""Processes as /proc tells of them: who trains, who loads for it, and what a thread waits for.

What a thread waits for is in /proc/PID/task/TID/syscall (proc(5)): the number of the system call that it sleeps in, and
its arguments. The kernel shows it to whoever may trace the process: its owner, where Yama does not restrict that to
those who started it (kernel.yama.ptrace_scope), and root.
"""

from __future__ import annotations

import os
import platform
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hwdiag.core.text import plural
from hwdiag.process.observation.stat import read_bytes, read_text

CALLS: Mapping[str, Mapping[int, str]] = {
    "x86_64": {0: "read", 45: "read", 47: "read", 7: "poll", 271: "poll", 202: "futex", 16: "ioctl"},
    "aarch64": {63: "read", 207: "read", 212: "read", 73: "poll", 98: "futex", 29: "ioctl"},
}
"""System calls that a DataLoader, or a GPU's driver, waits in, by their number (asm/unistd.h): read too for
recvfrom and recvmsg, poll for ppoll."""
TRAINS = "libtorch"
"""A library of a process that trains."""
STARTED = "--multiprocessing-fork"
"""In the command line of a worker that was spawned."""
SERVERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver import main")
WORKER = "pt_data_worker"
"""What torch calls a worker of a DataLoader (since 2.6)."""


class NotShown(Exception):
    """The kernel does not show it; the text says why."""


@dataclass(frozen=True)
class Wait:
    """The wait of a thread: ``call`` is empty where it runs, and ``file`` where it waits for none."""

    call: str = ""
    file: str = ""
    """``pipe:[4711]``, ``/dev/nvidia0``."""
    timed: bool = False
    """Whether it gives up after a while."""


class Processes:
    """Looks at processes; every answer about one that has ended is as of one that does nothing."""

    def __init__(self, proc: Path = Path("/proc"), machine: str | None = None) -> None:
        self.proc = proc
        self.calls = CALLS.get(machine or platform.machine(), {})

    def parents(self) -> dict[int, int]:
        """Return the parent of each process that is alive."""
        found = {}
        for name in filter(str.isdigit, self.names("")):
            fields = self.stat(int(name))
            if fields and fields[0] != "Z":
                found[int(name)] = int(fields[1])
        return found

    def below(self, top: int) -> set[int]:
        """Return a process and all its descendants."""
        parents, found, new = self.parents(), set[int](), {top}
        while new:
            found |= new
            new = {pid for pid, parent in parents.items() if parent in new} - found
        return found & set(parents)

    def stat(self, pid: int, thread: int | None = None) -> list[str]:
        """Return the fields from the state on; empty where the process ended."""
        task = f"task/{thread}/" if thread else ""
        text = self.text(f"{pid}/{task}stat")
        return text.rpartition(")")[2].split()

    def cpu_s(self, pid: int) -> float:
        """Return the CPU seconds of all threads of a process."""
        fields = self.stat(pid)
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK") if fields else 0.0

    def delay_s(self, pid: int) -> float | None:
        """Return the seconds that the main thread could have run and had no CPU; None where the kernel does not count
        them."""
        words = self.text(f"{pid}/task/{pid}/schedstat").split()
        return int(words[1]) / 1e9 if len(words) > 1 else None

    def name_of(self, pid: int, thread: int) -> str:
        """Return a thread's name."""
        return self.text(f"{pid}/task/{thread}/comm").strip()

    def command(self, pid: int) -> tuple[str, ...]:
        """Return the command line of a process."""
        return tuple(filter(None, self.text(f"{pid}/cmdline").split("\0")))

    def threads(self, pid: int) -> list[int]:
        """Return the threads of a process."""
        return sorted(map(int, self.names(f"{pid}/task")))

    def pipes(self, pids: Iterable[int]) -> set[str]:
        """Return the pipes that these processes have open, beside their standard input and output."""
        return {file for pid in pids for number, file in self.files(pid) if number > 2 and file.startswith("pipe:")}

    def files(self, pid: int) -> Iterator[tuple[int, str]]:
        """Yield the open files of a process, with their numbers."""
        for number in self.names(f"{pid}/fd"):
            yield int(number), self.file(pid, int(number))

    def file(self, pid: int, number: int) -> str:
        """Return one open file of a process; empty where there is none."""
        try:
            return os.readlink(f"{self.proc}/{pid}/fd/{number}")
        except OSError:
            return ""

    def wait(self, pid: int, thread: int) -> Wait:
        """Return what a thread waits for. Raises ``NotShown`` where that is not shown."""
        try:
            words = read_bytes(f"{self.proc}/{pid}/task/{thread}/syscall").split()
        except PermissionError:
            raise NotShown(
                "the kernel does not show what its threads wait for: look as its owner or as root, or let hwdiag start "
                "it (kernel.yama.ptrace_scope)"
            ) from None
        if not words and (self.proc / str(pid)).is_dir() and not (self.proc / "self" / "syscall").exists():
            raise NotShown("this kernel does not report what threads wait for (CONFIG_HAVE_ARCH_TRACEHOOK)")
        if not words or words[0] in (b"running", b"-1"):
            return Wait()
        call = self.calls.get(int(words[0]), "other")
        arguments = [int(word, 16) for word in words[1:7]]
        if call in ("read", "ioctl"):
            return Wait(call, self.file(pid, arguments[0]))
        if call == "poll":
            return Wait(call, self.polled(pid, arguments[0]))
        return Wait(call, timed=call == "futex" and arguments[3] != 0)

    def polled(self, pid: int, address: int) -> str:
        """Return the first file of an array of ``struct pollfd`` (poll(2)); empty where its memory is not shown."""
        try:
            with open(self.proc / str(pid) / "mem", "rb", buffering=0) as memory:
                memory.seek(address)
                number, _, _ = struct.unpack("=ihh", memory.read(8))
        except (OSError, struct.error, OverflowError, ValueError):
            return ""
        return self.file(pid, number)

    def is_local(self, pid: int, file: str) -> bool:
        """Return whether a socket is one within this machine (unix(7)): workers hand their memory over through such."""
        inode = file.removeprefix("socket:[").rstrip("]")
        return file.startswith("socket:") and f" {inode}" in self.text(f"{pid}/net/unix")

    def names(self, path: str) -> list[str]:
        """Return the names in a folder below /proc; none where there is none."""
        try:
            return os.listdir(f"{self.proc}/{path}")
        except OSError:
            return []

    def text(self, path: str) -> str:
        """Return the text of a file below /proc; empty where there is none."""
        return read_text(f"{self.proc}/{path}")

    def trains(self, pid: int) -> bool:
        """Return whether a process has torch loaded."""
        return TRAINS in self.text(f"{pid}/maps")


@dataclass(frozen=True)
class Training:
    """One process that trains, with those that load for it."""

    pid: int
    words: str
    workers: tuple[int, ...]

    @property
    def described(self) -> str:
        """Return the training as text."""
        return f"PID {self.pid} ({self.words}, {plural(len(self.workers), 'worker')})"


@dataclass(frozen=True)
class Member:
    """One process of a program, as far as it tells who trains and who loads."""

    parent: int
    command: tuple[str, ...]
    name: str


def trainings(processes: Processes, top: int) -> list[Training]:
    """Return the trainings of a process and all below it: processes with workers that are no workers themselves, or
    else one with torch loaded."""
    parents = processes.parents()
    members = {
        pid: Member(parents.get(pid, 0), processes.command(pid), processes.text(f"{pid}/comm"))
        for pid in sorted(processes.below(top))
    }
    loading = workers_of(members)
    found = [*loading] or [pid for pid in members if processes.trains(pid)][:1]
    return [Training(pid, name(members[pid].command), loading.get(pid, ())) for pid in found]


def workers_of(members: Mapping[int, Member]) -> dict[int, tuple[int, ...]]:
    """Return, of each process that has workers which have none themselves, those workers.

    A worker is forked from its training, and has its command line, or is started by Python's multiprocessing. torch
    names those of a DataLoader.
    """
    commands = {pid: member.command for pid, member in members.items()}
    parents = {pid: member.parent for pid, member in members.items()}
    servers = {pid for pid in members if is_server(commands[pid]) and not is_server(commands.get(parents[pid], ()))}
    workers: dict[int, list[int]] = {pid: [] for pid in members}
    for pid in members:
        parent = parents[pid]
        owner = parents.get(parent, 0) if parent in servers else parent
        if owner in workers and pid not in servers and (parent in servers or loads_for(commands[pid], commands[owner])):
            workers[owner].append(pid)
    loading = {w for own in workers.values() for w in own if not workers[w]}
    loading = {w for w in loading if members[w].name.startswith(WORKER)} or loading
    return {pid: tuple(w for w in workers[pid] if w in loading) for pid in members if loading & set(workers[pid])}


def is_server(command: tuple[str, ...]) -> bool:
    """Return whether a process is Python's fork server, forked from it, or its resource tracker."""
    return any(server in word for word in command for server in SERVERS)


def loads_for(command: tuple[str, ...], training: tuple[str, ...]) -> bool:
    """Return whether a process with this command line may be a worker of one with that."""
    return bool(command) and (command == training or STARTED in command)


def name(command: tuple[str, ...]) -> str:
    """Return a command line, shortened."""
    words = [word.rpartition("/")[2] if n == 0 else word for n, word in enumerate(command)]
    text = " ".join(words)
    return text if len(text) <= 60 else text[:57] + "..."
