"""Launch: how a process is started.

The one object that a measurement runs under *and* that the emitted launch script is rendered from,
so that what was measured is what is handed over.
"""

from __future__ import annotations

from pathlib import PurePath
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
    preload: tuple[str, ...] = ()
    """Further shared objects in front of all others."""
    env: dict[str, str] = {}
    """Further environment variables, such as ``MKL_NUM_THREADS`` where MKL is what torch uses."""
    unset: tuple[str, ...] = ()
    """Inherited variables that it takes away."""
    risk: str = ""
    """What speaks against it, in a sentence. A Launch with a risk is recommended only to who chose to take it."""

    @property
    def is_default(self) -> bool:
        """Whether it changes nothing: today's default."""
        return self == Launch(name=self.name)

    @property
    def preloaded(self) -> tuple[str, ...]:
        """All shared objects that it puts in front of what is preloaded already, the allocator among them."""
        return (*self.preload, *(() if self.allocator is None else (self.allocator.path,)))

    def plus(self, change: Launch) -> Launch:
        """This Launch with what ``change`` sets set as well, and named after both."""
        if self.is_default:
            return change
        changed = {k: v for k, v in change.model_dump().items() if v}
        merged = {
            "preload": (*self.preload, *change.preload),
            "env": {**self.env, **change.env},
            "unset": (*self.unset, *change.unset),
            "risk": " ".join(filter(None, (self.risk, change.risk))),
        }
        return Launch.model_validate({**self.model_dump(), **changed, **merged, "name": f"{self.name} + {change.name}"})

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
        parts += [f"{PurePath(path).name} preloaded" for path in self.preload]
        parts += [f"{k}={v}" for k, v in sorted(self.env.items()) if not k.endswith("_NUM_THREADS")]
        parts += [f"without {name}" for name in self.unset]
        return ", ".join(parts) or "nothing set: as it runs today"

    def environment(self) -> dict[str, str]:
        """The variables that it sets, without LD_PRELOAD: what it preloads goes in front of what is inherited."""
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
