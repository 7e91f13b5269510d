"""Identity of a machine: the facts that tell it from another, and stay over a new name, kernel or boot."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from hwdiag.core.value import Value
from hwdiag.host.cpulist import CpuList

MEMORY_TOLERANCE = 0.1
"""Share of the memory by which one machine's size may differ from boot to boot: kernels reserve more or less of it."""


class Identity(Value):
    """The facts that tell this machine from others. A cloned disk has the same machine id, other hardware a different
    rest.

    ``None`` is unknown. Two machines that are built alike and whose ids are not known are told apart by nothing here.
    """

    cpu: str | None = None
    """Model name."""
    family: str | None = None
    """Family, model and stepping of x86; implementer and part of Arm."""
    sockets: int | None = None
    cores: int | None = None
    threads: int | None = None
    """Logical CPUs that are present, online or not."""
    nodes: int | None = None
    """NUMA nodes that have CPUs."""
    memory_bytes: int | None = None
    """What the kernel has to give: compared within ``MEMORY_TOLERANCE``."""
    product: str | None = None
    """Vendor and product of DMI, or the device tree's model."""
    machine: str | None = None
    """``System.machine_hash``."""

    @property
    def key(self) -> str:
        """Return the identity as one text, without the size of the memory, which is not exact."""
        return "|".join(str(v) for name, v in self if name != "memory_bytes")


def same_memory(first: int | None, second: int | None) -> bool:
    """Return whether two sizes may be the same memory at two times: unknown ones are only the same as each other."""
    if first is None or second is None:
        return first is second
    return abs(first - second) <= MEMORY_TOLERANCE * max(first, second)


class _LooseFacts(BaseModel):
    model_config = ConfigDict(extra="ignore", from_attributes=True)


class _System(_LooseFacts):
    product: str | None = None
    machine_hash: str | None = None


class _Cpu(_LooseFacts):
    model: str | None = None
    family: str | None = None
    sockets: int | None = None
    cores: int | None = None
    online: CpuList = ()
    offline: CpuList = ()


class _Memory(_LooseFacts):
    total_bytes: int | None = None


class _Node(_LooseFacts):
    cpus: CpuList = ()


class _Facts(_LooseFacts):
    system: _System = _System()
    cpu: _Cpu = _Cpu()
    memory: _Memory = _Memory()
    numa: tuple[_Node, ...] = ()


def identity_of(host: Any) -> Identity:
    """Return the identity of a ``Host``, or of one as a record of any schema has it in JSON.

    Raises:
        ValidationError: a fact has another type than a host's.
    """
    facts = _Facts.model_validate(host)
    cpu = facts.cpu
    return Identity(
        cpu=cpu.model,
        family=cpu.family,
        sockets=cpu.sockets,
        cores=_cores(cpu),
        threads=len(cpu.online) + len(cpu.offline) or None,
        nodes=sum(bool(node.cpus) for node in facts.numa) or (1 if cpu.online else None),
        memory_bytes=facts.memory.total_bytes,
        product=facts.system.product,
        machine=facts.system.machine_hash,
    )


def _cores(cpu: _Cpu) -> int | None:
    """Return the cores, with those whose CPUs are offline. With half of all CPUs offline, SMT is switched off and no
    core lost."""
    if cpu.cores is None or not cpu.offline or len(cpu.offline) == len(cpu.online) == cpu.cores:
        return cpu.cores
    each = -(-len(cpu.online) // cpu.cores)
    return (len(cpu.online) + len(cpu.offline)) // each
