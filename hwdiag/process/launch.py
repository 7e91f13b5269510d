"""Launch: how a process is started.

The one object that a measurement runs under *and* that the emitted launch script is rendered from,
so that what was measured is what is handed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Literal

from hwdiag.core.text import plural
from hwdiag.core.value import Value
from hwdiag.host.cpulist import CpuList, format_cpulist

SWITCH = "HWDIAG_SWITCH_"
"""Beginning of the variables that tell a ``sitecustomize`` of ours what to switch."""
FEW_PLACES = 4
"""Places that are all named."""


class Allocator(Value):
    """A malloc replacement that is preloaded."""

    name: Literal["tcmalloc", "tcmalloc_minimal", "jemalloc", "mimalloc"]
    path: str


class MemoryPolicy(Value):
    """NUMA memory policy, as numactl(8) and set_mempolicy(2) mean it."""

    mode: Literal["bind", "preferred", "interleave"]
    nodes: CpuList


class InstancePlacement(Value):
    """The CPUs and memory of one of several instances."""

    cpus: CpuList
    memory: MemoryPolicy | None = None


class Launch(Value):
    """The start of a process. Every field that is None or empty is left as the caller has it."""

    threads: int | None = None
    """Intra-op threads: OpenMP's, and so ATen's, oneDNN's and MKL's."""
    interop_threads: int | None = None
    """Inter-op threads: those of ``torch.jit.fork``. No variable sets them, so the program must."""
    cpus: CpuList | None = None
    """CPUs it may run on."""
    memory: MemoryPolicy | None = None
    allocator: Allocator | None = None
    preload: tuple[str, ...] = ()
    """Further shared objects in front of all others."""
    python_path: tuple[str, ...] = ()
    """Folders in front of PYTHONPATH, whose ``sitecustomize`` every Python that is started runs first."""
    env: dict[str, str] = {}
    """Further environment variables, such as ``MKL_NUM_THREADS`` where MKL is what torch uses."""
    unset: tuple[str, ...] = ()
    """Inherited variables that it takes away."""
    instances: tuple[InstancePlacement, ...] = ()
    """Places of several processes that run at the same time, each of them with all else that is set here."""

    @property
    def is_default(self) -> bool:
        """Return whether the Launch changes nothing: today's default."""
        return self == Launch()

    @property
    def members(self) -> tuple[Launch, ...]:
        """Return the Launch of each process: itself, if it is one process alone."""
        alone = self.model_copy(update={"instances": ()})
        return tuple(
            alone.model_copy(update={"cpus": place.cpus, "memory": place.memory}) for place in self.instances
        ) or (self,)

    @property
    def preloaded(self) -> tuple[str, ...]:
        """Return all shared objects that it preloads before the inherited ones, the allocator among them."""
        return (*self.preload, *(() if self.allocator is None else (self.allocator.path,)))

    def plus(self, change: Launch) -> Launch:
        """Return this Launch with what ``change`` sets set as well."""
        if self.is_default:
            return change
        changed = {name: value for name in Launch.model_fields if (value := getattr(change, name))}
        merged = {
            "preload": (*self.preload, *change.preload),
            "python_path": tuple(dict.fromkeys((*self.python_path, *change.python_path))),
            "env": {**self.env, **change.env},
            "unset": (*self.unset, *change.unset),
        }
        return self.model_copy(update={**changed, **merged})

    def describe(self) -> str:
        """Return its settings as text: ``4 threads on CPUs 0-3, memory bound to node 0, tcmalloc``."""
        parts = []
        if self.instances:
            parts.append(f"{plural(len(self.instances), 'instance')} at the same time")
        if self.threads is not None:
            parts.append(plural(self.threads, "thread") + (" each" if self.instances else ""))
        if self.interop_threads is not None:
            parts.append(f"{plural(self.interop_threads, 'inter-op thread')} (torch.set_num_interop_threads)")
        if self.instances:
            parts.append(f"on CPUs {places_text(self.instances)}")
        if any(p.memory for p in self.instances):
            parts.append("each with the memory of its node")
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
        shown = {k: v for k, v in self.env.items() if not k.endswith("_NUM_THREADS")}
        parts += [f"{v} at Python's start" if k.startswith(SWITCH) else f"{k}={v}" for k, v in sorted(shown.items())]
        parts += [f"without {name}" for name in self.unset]
        return ", ".join(parts) or "nothing set: as it runs today"

    def environment(self) -> dict[str, str]:
        """Return the variables that it sets, without LD_PRELOAD: its preloads go before the inherited ones."""
        threads = {} if self.threads is None else {"OMP_NUM_THREADS": str(self.threads)}
        return {**threads, **self.env}

    def binding(self) -> tuple[str, ...]:
        """Return the command that binds the command after it: numactl(8) for memory, taskset(1) where only CPUs are
        bound."""
        if self.memory is not None:
            option = {"bind": "--membind", "preferred": "--preferred", "interleave": "--interleave"}[self.memory.mode]
            cpus = () if self.cpus is None else (f"--physcpubind={format_cpulist(self.cpus)}",)
            return ("numactl", *cpus, f"{option}={format_cpulist(self.memory.nodes)}", "--")
        if self.cpus is not None:
            return ("taskset", "--cpu-list", format_cpulist(self.cpus))
        return ()


def places_text(places: Sequence[InstancePlacement]) -> str:
    """Return the CPUs of each instance as text; of many only the first two and the last: ``0-3; 4-7; ... 124-127``."""
    *most, last = (format_cpulist(place.cpus) for place in places)
    return "; ".join([*most, last]) if len(places) <= FEW_PLACES else f"{most[0]}; {most[1]}; ... {last}"
