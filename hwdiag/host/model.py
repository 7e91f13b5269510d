"""Host: the facts of one machine at one time, as immutable values.

``None`` means unknown. Where a fact is unknown for a reason worth telling (a permission, a broken file),
``Host.gaps`` says so. Sizes are in bytes, frequencies in MHz.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from hwdiag.core.value import Value
from hwdiag.host.cpulist import CpuList

GapKind = Literal["", "lost", "reset", "mismatch", "hang", "error", "unbound", "unlisted"]
"""Of GPUs: it has fallen off the bus, it needs a reset, library and driver differ, the driver does not answer, it fails
otherwise, no driver of NVIDIA's has taken it, the driver has it and does not list it."""


class Gap(Value):
    """A fact that could not be read, and why."""

    what: str
    """File or interface, such as ``/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor``; a GPU."""
    why: str
    """One clause: ``permission denied``, ``not a number: 'abc'``."""
    kind: GapKind = ""
    """What is wrong with a GPU that cannot be asked."""


class System(Value):
    """Kernel, distribution and the box around them."""

    hostname: str
    arch: str
    """Machine name as ``uname -m`` says it: ``x86_64``, ``aarch64``."""
    kernel: str | None = None
    distribution: str | None = None
    product: str | None = None
    """Vendor and product name from DMI, or the device-tree model."""
    hypervisor: str | None = None
    """Name of the hypervisor where one is seen ("KVM", "unknown" if only the CPU flag tells), else None."""
    container: str | None = None
    """Container manager where one is seen: ``docker``, ``podman``, ``kubernetes``, ``lxc`` ..."""
    machine_hash: str | None = None
    """SHA-256 of ``hwdiag:`` plus ``/etc/machine-id``: tells machines apart without giving it away (machine-id(5))."""
    boot_id: str | None = None
    cmdline: str | None = None
    compilers: tuple[str, ...] | None = None
    """C++ and C compilers on PATH; None where nobody looked."""


class LogicalCpu(Value):
    """One online logical CPU (hardware thread)."""

    id: int
    core: int
    """Physical core, numbered 0.. over the whole machine in the order of its first CPU."""
    socket: int
    """Package, numbered 0.. in the order of its first CPU (not the kernel's physical_package_id, which has holes)."""
    node: int | None = None
    max_mhz: float | None = None
    capacity: int | None = None
    """Relative capacity of an Arm core, 1024 for the fastest (``cpu_capacity``)."""
    kind: int = 0
    """Index into ``Cpu.kinds``."""


class CoreKind(Value):
    """Cores of one kind: all of a usual machine; P-cores or E-cores, Cortex-X925 or A725, of a mixed one."""

    name: str
    cpus: CpuList
    cores: int
    max_mhz: float | None = None
    capacity: int | None = None


class Cache(Value):
    """One cache instance."""

    level: int
    type: Literal["data", "instruction", "unified"]
    size_bytes: int
    """0 if unknown: phones name their caches but not the sizes."""
    cpus: CpuList
    """Online CPUs that share it."""


class Hidden(Value):
    """Features that the processor has, or should have, and that something keeps from programs."""

    features: tuple[str, ...]
    """By their usual names; empty where it is not known which."""
    by: Literal["kernel", "hypervisor"]
    why: str
    """A clause: ``clearcpuid=avx2 on its command line``."""


class Build(Value):
    """The compiler flags for this host."""

    flags: str
    """For GCC and Clang: ``-march=native``, ``-march=x86-64-v3``."""
    by: str
    """Who says so: ``gcc on this host``, ``archspec``, ``what all kinds of its cores have``."""
    target: str | None = None
    """What the compiler or the catalogue calls this CPU: ``znver3``."""


class Isa(Value):
    """The instruction set that all online CPUs have in common."""

    level: str
    """``x86-64-v1`` ... ``x86-64-v4``, ``armv8-a`` ..., or ``unknown``."""
    features: tuple[str, ...]
    """Those that matter for numeric libraries, by their usual names: ``AVX2``, ``FMA``, ``AMX-BF16``, ``SVE2`` ..."""
    missing: tuple[str, ...]
    """Of the same list for this architecture, the ones that are absent."""
    sve_bits: int | None = None
    """Length of an SVE vector as the kernel gives it to programs by default, in bits."""
    hidden: tuple[Hidden, ...] = ()
    build: Build | None = None


class Cpu(Value):
    """The processors."""

    vendor: str | None = None
    model: str | None = None
    """Marketing name; the kinds' names joined where cores differ and no other name is known."""
    family: str | None = None
    """Family/model/stepping of x86 (``6/62/4``), implementer/part of Arm (``0x41/0xd85``)."""
    microcode: str | None = None
    """Its version, of x86, as the kernel tells it: ``0xa101144``; the versions joined by commas where CPUs differ."""
    sockets: int | None = None
    cores: int | None = None
    """Physical cores with at least one online CPU."""
    online: CpuList = ()
    offline: CpuList = ()
    """Present, but not online."""
    smt: bool | None = None
    """True if a core has more than one online CPU."""
    logical: tuple[LogicalCpu, ...] = ()
    kinds: tuple[CoreKind, ...] = ()
    caches: tuple[Cache, ...] = ()
    flags: tuple[str, ...] = ()
    """Raw flags of /proc/cpuinfo that all CPUs share, sorted."""
    isa: Isa | None = None
    governor: str | None = None
    """cpufreq governor, the values joined by commas where CPUs differ."""
    driver: str | None = None
    boost: bool | None = None

    @cached_property
    def llc(self) -> tuple[Cache, ...]:
        """Return the last-level caches: all instances of the highest level that holds data."""
        level = max((c.level for c in self.caches if c.type != "instruction"), default=0)
        return tuple(c for c in self.caches if c.level == level and c.type != "instruction")

    @property
    def llc_bytes(self) -> int:
        """Return the sum of the last-level caches, 0 if unknown."""
        return sum(c.size_bytes for c in self.llc)


class NumaNode(Value):
    """One NUMA node."""

    id: int
    cpus: CpuList
    """Online CPUs; empty for a memory-only node."""
    memory_bytes: int | None = None
    free_bytes: int | None = None
    distances: tuple[int, ...] = ()
    """To each node in the order of ``Host.numa``; 10 is local (ACPI SLIT)."""


class Memory(Value):
    """Main memory and how the kernel hands it out."""

    total_bytes: int | None = None
    available_bytes: int | None = None
    swap_total_bytes: int | None = None
    swap_free_bytes: int | None = None
    page_bytes: int | None = None
    transparent_hugepages: str | None = None
    """``always``, ``madvise`` or ``never``."""


class Gpu(Value):
    """One GPU as its driver tells it. "Not supported" is None here, and normal for several fields."""

    vendor: str = "nvidia"
    """Its module of ``host.gpu``. Records of before there were others do not say it."""
    index: int
    """Numbered over all vendors; NVML's own number for NVIDIA's, which come first."""
    name: str
    integrated: bool = False
    """A part of the processor that is there to drive a screen: torch computes on few of them."""
    uuid: str | None = None
    """What stays with the board: NVIDIA's UUID, AMD's unique id."""
    bus_id: str | None = None
    driver: str | None = None
    cuda: str | None = None
    """Highest CUDA version that the driver supports, ``13.0``."""
    architecture: str | None = None
    compute_capability: str | None = None
    memory_bytes: int | None = None
    unified_memory: bool = False
    """Shares its memory with the CPU (GB10, Jetson, integrated ones)."""
    sm_mhz: float | None = None
    sm_max_mhz: float | None = None
    memory_mhz: float | None = None
    memory_max_mhz: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    temperature_c: float | None = None
    persistence: bool | None = None
    ecc: bool | None = None
    """Whether its memory corrects errors; None where it cannot."""
    mig: bool | None = None
    """Whether it is cut into Multi-Instance GPUs; None where it cannot be."""
    nvlinks: int | None = None
    """NVLinks that are up; None where it has none."""
    pcie_generation: int | None = None
    """Of the link as it is now: an idle GPU slows its link down."""
    pcie_width: int | None = None
    pcie_max_generation: int | None = None
    """The most that GPU and slot can do together."""
    pcie_max_width: int | None = None
    throttle_reasons: tuple[str, ...] = ()
    node: int | None = None
    """NUMA node next to it."""
    utilization: int | None = None
    """Share of the time in which at least one kernel ran, in percent."""
    processes: tuple[int, ...] | None = None
    """Ids of the processes that compute on it, as the driver numbers them: in a container they have other numbers."""
    compute_mode: str | None = None
    """``Default``, ``Exclusive_Process`` or ``Prohibited``."""
    accounting: bool | None = None
    ecc_pending: bool | None = None
    """As ``ecc``, after the next reset."""
    virtualization: str | None = None
    """Where a hypervisor gives it: ``pass-through`` for a whole GPU, ``vGPU`` for a share of one."""
    power_min_w: float | None = None
    """The least and the most that its power limit can be set to, and what the maker set."""
    power_max_w: float | None = None
    power_default_w: float | None = None


class Xid(Value):
    """An error that NVIDIA's driver wrote to the kernel's log, and how often."""

    slot: str
    """PCI address of the GPU."""
    code: int
    count: int = 1
    last: str = ""
    """The driver's words of the last one."""


class Disk(Value):
    """One block device that holds data (no loop, RAM or device-mapper devices)."""

    name: str
    kind: Literal["nvme", "sata", "scsi", "virtio", "mmc", "xen", "other"]
    size_bytes: int | None = None
    model: str | None = None
    rotational: bool | None = None
    scheduler: str | None = None
    read_ahead_kb: int | None = None


class Limits(Value):
    """The limits of this process, beside what the machine has."""

    allowed: CpuList = ()
    """CPUs that this process may run on: affinity and cpuset together."""
    cpuset: CpuList | None = None
    """CPUs of the cgroup's cpuset, None where no cpuset restricts."""
    cpu_quota: float | None = None
    """CPUs' worth of time per period allowed by the cgroup, the least over all its ancestors; None without quota."""
    memory_limit_bytes: int | None = None
    """The least memory limit of the cgroup and its ancestors, None without limit."""
    mems: CpuList | None = None
    """NUMA nodes that memory may come from (Mems_allowed_list)."""
    cgroup_version: int | None = None
    nofile: tuple[int | None, int | None] | None = None
    """Soft and hard limit of open files; None inside for unlimited."""
    memlock_bytes: tuple[int | None, int | None] | None = None
    """Soft and hard limit of locked memory."""
    processes: tuple[int | None, int | None] | None = None
    """Soft and hard limit of a user's processes and threads."""
    address_space_bytes: tuple[int | None, int | None] | None = None
    """Soft and hard limit of the memory that one process may map."""
    pids: int | None = None
    """Processes and threads that the cgroup and its ancestors allow together, the least of them."""
    pids_now: int | None = None
    """Of these, how many there are."""
    shared_memory_bytes: int | None = None
    """Size of the file system /dev/shm, over which DataLoader workers hand batches; 0 where there is none."""
    shared_memory_free_bytes: int | None = None


class Host(Value):
    """The facts of one machine at one time."""

    source: Literal["live", "directory", "snapshot"] = "live"
    read_at: str
    """UTC, ISO 8601."""
    system: System
    cpu: Cpu
    memory: Memory
    numa: tuple[NumaNode, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    gpu_note: str | None = None
    """Why there are no GPUs, in a clause: ``no NVIDIA driver on this host``, ``NVML failed: Driver Not Loaded``."""
    xids: tuple[Xid, ...] | None = None
    """Errors of NVIDIA's GPUs in the kernel's log; None where it could not be read, or nobody looked."""
    disks: tuple[Disk, ...] = ()
    limits: Limits = Limits()
    gaps: tuple[Gap, ...] = ()

    @property
    def label(self) -> str:
        """Return the host's name, or what it is where a snapshot does not tell the name."""
        known = self.system.hostname if self.system.hostname != "unknown" else None
        return known or self.system.product or self.cpu.model or "an unnamed host"

    @property
    def accelerators(self) -> tuple[Gpu, ...]:
        """Return the GPUs that programs compute on, without those that are a part of the processor."""
        return tuple(gpu for gpu in self.gpus if not gpu.integrated)

    @property
    def is_here(self) -> bool:
        """Return whether these are facts of the machine that read them: on any other nothing can be measured."""
        return self.source == "live"

    @cached_property
    def usable_cpus(self) -> tuple[int, ...]:
        """Return the online CPUs that this process may run on; all online ones where no limit is known."""
        allowed = set(self.limits.allowed) or set(self.cpu.online)
        return tuple(c for c in self.cpu.online if c in allowed)

    @cached_property
    def usable_cores(self) -> tuple[tuple[int, ...], ...]:
        """Return the usable CPUs grouped by physical core."""
        usable = set(self.usable_cpus)
        cores: dict[int, list[int]] = {}
        for cpu in self.cpu.logical:
            if cpu.id in usable:
                cores.setdefault(cpu.core, []).append(cpu.id)
        return tuple(tuple(ids) for ids in cores.values())

    @cached_property
    def usable_memory_bytes(self) -> int | None:
        """Return the memory that may be used now: what is available, or the cgroup's limit where that is less."""
        known = [b for b in (self.memory.available_bytes, self.limits.memory_limit_bytes) if b is not None]
        return min(known, default=None)
