"""Read a whole Host through a Root."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hwdiag.host.cpu import read_cpu
from hwdiag.host.cpuinfo import CpuInfo, read_cpuinfo
from hwdiag.host.cpulist import bounded_lists
from hwdiag.host.disks import read_disks
from hwdiag.host.gpu import read_gpus
from hwdiag.host.limits import read_limits
from hwdiag.host.memory import read_memory
from hwdiag.host.model import Cpu, Disk, Gpu, Host, Limits, Memory, NumaNode, System
from hwdiag.host.numa import read_numa
from hwdiag.host.nvidia_kernel import read_xids
from hwdiag.host.root import Root
from hwdiag.host.system import read_system
from hwdiag.host.topology import Topology, read_topology

T = TypeVar("T")

NO_TOPOLOGY = Topology(online=(), offline=(), core={}, socket={}, known=False)
NO_NODES: tuple[NumaNode, ...] = ()
NO_DISKS: tuple[Disk, ...] = ()
NO_GPUS: tuple[tuple[Gpu, ...], str | None] = ((), "GPUs could not be read")


def read_host(root: Root, *, nvml: Any = None) -> Host:
    """Return the facts of the machine behind ``root``.

    Never raises for what it finds there: what is unknown is None, and ``gaps`` says why where that is worth telling.
    ``nvml`` stands in for the module ``pynvml``, for tests; a dump has no GPUs without it.
    """
    with bounded_lists():
        return _read(root, nvml)


def _read(root: Root, nvml: Any) -> Host:
    root.forget_gaps()
    cpuinfo = _section(root, "/proc/cpuinfo", CpuInfo(), lambda: read_cpuinfo(root))
    topology = _section(root, "CPU topology", NO_TOPOLOGY, lambda: read_topology(root, cpuinfo))
    numa = _section(root, "NUMA nodes", NO_NODES, lambda: read_numa(root, topology.online))
    system = _section(root, "system", System(hostname="unknown", arch="unknown"), lambda: read_system(root, cpuinfo))
    cpu = _section(root, "CPU", Cpu(), lambda: read_cpu(root, cpuinfo, topology, numa, system.arch))
    memory = _section(root, "memory", Memory(), lambda: read_memory(root, numa))
    gpus, gpu_note = _section(root, "GPUs", NO_GPUS, lambda: read_gpus(root, nvml=nvml))
    disks = _section(root, "disks", NO_DISKS, lambda: read_disks(root))
    limits = _section(root, "limits", Limits(), lambda: read_limits(root, cpu.online, tuple(n.id for n in numa)))
    return Host(
        source=root.source,
        read_at=root.read_at,
        system=system,
        cpu=cpu,
        memory=memory,
        numa=numa,
        gpus=gpus,
        gpu_note=gpu_note,
        xids=_section(root, "errors of GPUs", None, lambda: read_xids(root)),
        disks=disks,
        limits=limits,
        gaps=root.gaps,
    )


def _section(root: Root, what: str, otherwise: T, read: Callable[[], T]) -> T:
    """Return one part of the Host. An error of hwdiag in it costs that part, and is told, but not the whole run."""
    try:
        return read()
    except Exception as error:  # whatever it is, the other facts are still worth having
        root.note(what, f"{type(error).__name__}: {error}"[:200])
        return otherwise
