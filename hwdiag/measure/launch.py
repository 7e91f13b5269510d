"""Launch: how a process is started.

The one object that a measurement runs under *and* that the emitted launch script is rendered from,
so that what was measured is what is handed over.
"""

from __future__ import annotations

from typing import Literal

from hwdiag.host.cpulist import CpuList, format_cpulist
from hwdiag.model import Value
from hwdiag.words import plural


class Allocator(Value):
    """A malloc replacement that is preloaded."""

    name: Literal["tcmalloc", "tcmalloc_minimal", "jemalloc", "mimalloc"]
    path: str


class MemoryPolicy(Value):
    """NUMA memory policy, as numactl(8) and set_mempolicy(2) mean it."""

    mode: Literal["bind", "preferred", "interleave"]
    nodes: CpuList


class Launch(Value):
    """How a process is started; every field that is None or empty is left as the caller has it."""

    name: str
    threads: int | None = None
    """Intra-op threads: OpenMP's, and so ATen's, oneDNN's and MKL's."""
    cpus: CpuList | None = None
    """CPUs it may run on."""
    memory: MemoryPolicy | None = None
    allocator: Allocator | None = None
    env: dict[str, str] = {}
    """Further environment variables, such as ``MKL_NUM_THREADS`` where MKL is what torch uses."""
    unset: tuple[str, ...] = ()
    """Inherited variables that it takes away."""

    @property
    def is_default(self) -> bool:
        """Whether it changes nothing: today's default."""
        return self == Launch(name=self.name)

    def describe(self) -> str:
        """What it sets, in words: ``4 threads on CPUs 0-3, memory bound to node 0, tcmalloc``."""
        parts = []
        if self.threads is not None:
            parts.append(plural(self.threads, "thread"))
        if self.cpus is not None:
            parts.append(f"on CPUs {format_cpulist(self.cpus)}")
        if self.memory is not None:
            verb = {"bind": "bound to", "preferred": "preferably from", "interleave": "interleaved over"}[
                self.memory.mode
            ]
            parts.append(
                f"memory {verb} node{'s' if len(self.memory.nodes) > 1 else ''} {format_cpulist(self.memory.nodes)}"
            )
        if self.allocator is not None:
            parts.append(self.allocator.name)
        parts += [f"{k}={v}" for k, v in sorted(self.env.items()) if not k.endswith("_NUM_THREADS")]
        parts += [f"without {name}" for name in self.unset]
        return ", ".join(parts) or "nothing set: as it runs today"

    def environment(self) -> dict[str, str]:
        """The variables that it sets, without LD_PRELOAD: the allocator goes in front of an inherited one."""
        threads = {} if self.threads is None else {"OMP_NUM_THREADS": str(self.threads)}
        return {**threads, **self.env}

    def binding(self) -> tuple[str, ...]:
        """The command that binds what follows it: numactl(8) for memory, taskset(1) where only CPUs are bound."""
        if self.memory is not None:
            option = {"bind": "--membind", "preferred": "--preferred", "interleave": "--interleave"}[self.memory.mode]
            cpus = () if self.cpus is None else (f"--physcpubind={format_cpulist(self.cpus)}",)
            return ("numactl", *cpus, f"{option}={format_cpulist(self.memory.nodes)}", "--")
        if self.cpus is not None:
            return ("taskset", "--cpu-list", format_cpulist(self.cpus))
        return ()
