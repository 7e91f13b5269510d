"""Program: a person's command or running process, and what was seen of it from outside and from inside."""

from __future__ import annotations

from hwdiag.core.value import Value
from hwdiag.host.cpulist import CpuList
from hwdiag.process.model import Outcome
from hwdiag.process.observation.inside_model import InsideReport as InsideReport
from hwdiag.process.observation.marks import Mark
from hwdiag.process.observation.waiting_model import TrainingWaits


class ObservedThread(Value):
    """One thread of an observed process."""

    tid: int
    name: str
    allowed: CpuList
    """CPUs that it may run on, at the last look."""
    ran_on: CpuList
    """CPUs that it was seen on while it ran."""
    cpu_s: float
    """CPU seconds while it was observed."""
    wait_s: float | None
    """Seconds in which it could run and had no CPU (schedstat); None where the kernel does not count them."""
    policy: str
    """``other``, ``batch``, ``idle``, ``fifo``, ``rr``, ``deadline``."""
    nice: int


class CgroupOfProcess(Value):
    """The control groups of one process: what they allow, and what they did to it while it was observed."""

    path: str = ""
    cpu_quota: float | None = None
    """CPUs' worth of time per period; None without a quota."""
    cpu_weight: int | None = None
    """Of version 2 (100 is usual), or ``cpu.shares`` of version 1 scaled to it."""
    throttled_s: float | None = None
    """Seconds for which the quota stopped the group."""
    memory_limit_bytes: int | None = None
    memory_peak_bytes: int | None = None
    oom_kills: int | None = None
    """Processes of the group that the kernel killed for want of memory meanwhile."""
    pids_limit: int | None = None
    pids_peak: int | None = None
    pids_refused: int | None = None
    """Forks that the limit refused meanwhile."""
    cpuset: CpuList | None = None
    """CPUs of the cpuset; None where none restricts."""


class ResourceLimits(Value):
    """Soft limits of one process (getrlimit(2)); None is unlimited."""

    open_files: int | None = None
    address_space_bytes: int | None = None
    processes: int | None = None
    locked_memory_bytes: int | None = None
    file_size_bytes: int | None = None
    cpu_s: int | None = None
    stack_bytes: int | None = None


class MemoryPoint(Value):
    """Memory of one process at one moment."""

    seconds: float
    resident_bytes: int
    anonymous_bytes: int
    file_bytes: int
    shared_bytes: int
    """Shared memory: /dev/shm and other tmpfs (RssShmem)."""
    swapped_bytes: int
    mapped_bytes: int
    """Size of the address space."""


class ObservedProcess(Value):
    """One process of the program."""

    pid: int
    parent: int
    name: str
    command: tuple[str, ...]
    executable: str
    uid: int | None
    began_s: float
    """First and last look, on the observation's clock."""
    ended_s: float
    first_allowed: CpuList
    """CPUs that its main thread may run on at the first look, and at the last: who narrowed it, and when."""
    allowed: CpuList
    threads: tuple[ObservedThread, ...]
    """Those that used most CPU time, at most 128."""
    most_threads: int
    cpu_s: float
    """CPU seconds while it was observed, all threads."""
    major_faults: int
    memory: tuple[MemoryPoint, ...]
    """At most 240 points over its life."""
    environment: dict[str, str]
    """Of its variables those that libraries, loaders and schedulers read; as they were at its start."""
    libraries: tuple[str, ...]
    """Mapped files that are OpenMP, BLAS, MKL, oneDNN, torch, allocators, CUDA, or were preloaded: their paths."""
    torch: bool
    """Whether it has torch mapped."""
    most_open_files: int | None
    limits: ResourceLimits
    cgroup: CgroupOfProcess
    worker: bool = False
    """Whether it is a worker of a DataLoader."""
    hidden: tuple[str, ...] = ()
    """What the kernel does not show of it, and why, a clause each."""


class Neighbour(Value):
    """Other programs of one name that used CPU time meanwhile."""

    name: str
    processes: int
    cpus: float
    """CPUs that they kept busy, in the mean."""
    command: str = ""
    """Command line of the busiest one, short."""
    user: str = ""


class SharedMemory(Value):
    """The file system for shared memory as the program sees it."""

    path: str = "/dev/shm"
    size_bytes: int | None = None
    peak_bytes: int | None = None
    """Most that was used at a look."""


class Ending(Value):
    """The end of the program."""

    outcome: Outcome
    status: int | None = None
    """Exit status, or minus the signal, also that of the person's wish where it had to be killed after it; None if it
    runs on, or was killed for its time."""
    seconds: float = 0.0
    stderr: str = ""
    """The end of its standard error, at most 64 KiB."""
    stdout: str = ""
    full_disks: tuple[str, ...] = ()
    """Mount points of those that it works and writes on which had less than 1 % and less than 64 MiB free."""
    asked_to_end: int | None = None
    """The signal by which the person ended it or the look at it: 2 is Ctrl-C."""


class ObservationCost(Value):
    """The cost of observing."""

    cpu_s: float
    share: float
    """CPU seconds over seconds observed: 0.01 is 1 % of one core."""
    looks: int


class Program(Value):
    """A person's command or running process, and what was seen of it."""

    command: tuple[str, ...]
    pid: int | None = None
    """Of a process that ran already."""
    started_at: str
    seconds: float
    own_allowed: CpuList
    """CPUs that hwdiag itself may use, which the command inherited."""
    processes: tuple[ObservedProcess, ...]
    """At most 256, those that used most CPU time."""
    neighbours: tuple[Neighbour, ...] = ()
    """Of others, those that kept at least 0.02 CPUs busy; the busiest first."""
    machine: dict[str, float] = {}
    """Means over the time of what hwdiag monitor samples: ``cpu.use``, ``cpu.steal``, ``pressure.cpu.some`` ..."""
    marks: tuple[Mark, ...] = ()
    """What it said of itself meanwhile, by lines into ``$HWDIAG_MARKS``."""
    shared_memory: SharedMemory = SharedMemory()
    packages: dict[str, str] = {}
    """Versions of torch, torchvision, numpy ... beside each other in its interpreter, by ``packages.packages``."""
    waits: tuple[TrainingWaits, ...] = ()
    """Of each training, what its main thread waited for."""
    inside: tuple[InsideReport, ...] = ()
    inside_note: str = ""
    """Why nothing was seen from inside; empty where it was."""
    ending: Ending
    cost: ObservationCost
    oom_kills: int | None = None
    """Processes that the kernel killed for want of memory meanwhile, on the whole machine."""
    notes: tuple[str, ...] = ()
    """What went otherwise than one might think, a line each."""
