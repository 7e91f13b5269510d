"""Variable: what is known of an environment variable; ProcessContext: what one is judged by; Effect: what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from hwdiag.core.finding import Severity
from hwdiag.core.text import plural
from hwdiag.core.value import Value

Reader = Literal[
    "any OpenMP", "libgomp", "libiomp5 or libomp", "MKL", "libmkl_rt", "oneDNN", "ATen", "OpenBLAS", "BLIS", "NumPy",
    "numexpr", "faiss", "polars", "PyTorch", "PyTorch's allocators", "torch.compile", "glibc", "jemalloc", "tcmalloc",
    "mimalloc", "Python", "the dynamic loader", "CUDA", "NCCL", "HIP", "nothing",
]  # fmt: skip

Scope = Literal["threads", "binding", "instructions", "memory", "debugging", "loading", "devices", "compiling"]

State = Literal["in effect", "ignored", "overridden"]

SHOWN = 120
"""Characters of a value that are shown."""


@dataclass(frozen=True)
class ProcessContext:
    """The other variables, what the process may use, and what was seen of it. What nobody looked at is None."""

    environment: Mapping[str, str]
    cpus: tuple[int, ...]
    """CPUs that the process may use by affinity and cpuset, before a library in it binds threads."""
    cores: int
    """Physical cores among them."""
    quota: float | None = None
    """CPUs' worth of time that a cgroup pays for."""
    arch: str = ""
    flags: tuple[str, ...] | None = None
    """CPU features in the words of /proc/cpuinfo."""
    gpus: int | None = None
    """GPUs of the host, hidden ones included."""
    processes: int = 1
    """Processes that compute at the same time on these CPUs."""
    readers: Mapping[Reader, bool] = field(default_factory=dict)
    """Whether the process has a reader of variables loaded; of one that is not named, nobody looked."""
    libraries: tuple[str, ...] | None = None
    """Paths of the files that it has mapped, as far as they matter."""
    threads: int | None = None
    """``torch.get_num_threads()``."""
    thread_limit: int | None = None
    """``omp_get_thread_limit()``, where it limits."""
    main_cpus: tuple[int, ...] | None = None
    """CPUs that the main thread may use after ``import torch``."""
    capability: str | None = None
    """``torch.backends.cpu.get_cpu_capability()``."""
    tunables: frozenset[str] | None = None
    """Names that the dynamic loader knows (``ld.so --list-tunables``)."""
    glibc: tuple[int, int] | None = None
    loadavg: float | None = None
    """15-minute load average."""
    commands: frozenset[str] | None = None
    """Of the programs that variables name, those that were found on PATH."""
    looks_at_files: bool = True
    """Whether the files that variables name are those of this process's file system."""

    def has(self, reader: Reader) -> bool | None:
        """Return whether the reader is in the process; None where nobody looked."""
        return self.readers.get(reader)

    @property
    def cpus_paid(self) -> float:
        """Return the CPUs that one process can keep busy: its share of what affinity and quota leave."""
        return min(float(len(self.cpus)), self.quota or float(len(self.cpus))) / self.processes

    @property
    def fair_threads(self) -> int:
        """Return the threads that suit one process: a thread for each core, no more than the quota pays for."""
        return max(1, int(min(float(self.cores), self.quota or float(self.cores)) / self.processes + 0.01))

    @property
    def cpus_words(self) -> str:
        """Return the CPUs as text: ``2 CPUs``; with a quota below that, ``the 1.5 CPUs that the quota pays for``."""
        if self.quota is not None and self.quota < len(self.cpus):
            return f"the {plural(self.quota, 'CPU')} that the quota pays for"
        return plural(len(self.cpus), "CPU")


class Effect(Value):
    """The effect of one variable in one process, where that is worth a word."""

    state: State
    severity: Severity
    title: str
    """The cause with its figures, the variable's name in it."""
    why: str
    """What that means, and by what it is known."""
    remedy: str = ""
    """What to do instead; empty for taking the variable away."""


@dataclass(frozen=True)
class Inherited:
    """One variable of a process."""

    name: str
    value: str
    context: ProcessContext

    @property
    def shown(self) -> str:
        """Return the variable with its value, a long one cut: ``OMP_NUM_THREADS=1``."""
        cut = self.value if len(self.value) <= SHOWN else f"{self.value[:SHOWN]}..."
        return f"{self.name}={cut}"


Judge = Callable[[Inherited], Effect | None]
"""Returns what a variable does wrong; None where it is in order."""


class Variable(Value):
    """The registry's entry of one variable, or of a family of them."""

    pattern: str
    """Regular expression that the whole name matches."""
    reader: Reader
    scope: Scope
    severity: Severity
    effect: str
    advice: str
    source: str
    emit: Literal["per program", "diagnosis only", "never"]
    """Whether a launch script may set it."""
    forces: bool = False
    """Whether it can make a library run what this CPU or this process cannot: a suspect after a crash."""
    cap: str | None = None
    """The setting that keeps its reader from newer instructions for real, as one would write it."""
    does: str = ""
    """A clause for the title: ``it waits for every GPU kernel``."""
    off: tuple[str, ...] = ()
    """Values, in lower case, with which it does nothing."""
    harmless: bool = False
    """Nothing is wrong with any value of it."""
    judge: Judge | None = None
    """Judges its value, where ``off`` and ``harmless`` do not say it all."""
