"""Data of a process: what it was asked to run, what was seen of it, how it ended."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator

from hwdiag.core.text import one_group
from hwdiag.core.value import Value
from hwdiag.host.cpulist import CpuList
from hwdiag.process.torch_builds import TorchDevice

OutcomeKind = Literal[
    "ok", "signal", "out-of-memory", "timeout", "import-error", "error", "not-started", "not-applied", "wrong-result"
]


class Outcome(Value):
    """The outcome of a child."""

    kind: OutcomeKind
    detail: str = ""
    """One line for a person: ``killed by SIGILL (illegal instruction) while importing torch``."""

    @property
    def ok(self) -> bool:
        return self.kind == "ok"


class ThreadPool(Value):
    """One native library with its own threads, found in the process's memory map."""

    api: Literal["openmp", "blas"]
    name: str
    """``libgomp``, ``libiomp5``, ``libomp``, ``MKL``, ``OpenBLAS``, ``BLIS``, ``NVPL`` ..."""
    version: str | None = None
    path: str | None = None
    threads: int | None = None


class Software(Value):
    """The PyTorch that the person really runs, as a child of that interpreter saw it."""

    python: str
    """Path of the interpreter."""
    outcome: Outcome
    python_version: str | None = None
    prefix: str | None = None
    torch_version: str | None = None
    torch_path: str | None = None
    cuda: str | None = None
    """CUDA version torch was built for; None for a CPU build."""
    hip: str | None = None
    """ROCm version torch was built for."""
    cuda_devices: tuple[str, ...] = ()
    """Names of GPUs that torch.cuda sees: NVIDIA's, and AMD's in a build for ROCm."""
    accelerators: tuple[TorchDevice, ...] = ()
    """All that torch sees, of whichever maker."""
    cuda_note: str | None = None
    """Why a CUDA build sees no device."""
    cpu_capability: str | None = None
    """``DEFAULT``, ``AVX2``, ``AVX512``, ``SVE256`` ...: the kernels that ATen dispatches to."""
    mkl: bool | None = None
    onednn: bool | None = None
    build: str | None = None
    """``torch.__config__.show()``."""
    threads: int | None = None
    interop_threads: int | None = None
    pools: tuple[ThreadPool, ...] = ()
    main_cpus: CpuList | None = None
    """CPUs that the main thread may use after ``import torch``: a library may have bound it."""
    thread_limit: int | None = None
    """``omp_get_thread_limit()``; None where it does not limit."""
    libraries: tuple[str, ...] | None = None
    """Mapped files that decide how it runs: OpenMP runtimes, BLAS, allocators, what variables brought."""
    numpy_version: str | None = None
    environment: dict[str, str] = {}
    """Inherited variables that numeric libraries and loaders read (OMP_*, MKL_*, LD_PRELOAD ...)."""


class Command(Value):
    """A command of the user's own, and what of it is measured."""

    argv: tuple[str, ...]
    metric: Annotated[str, AfterValidator(one_group)] | None = None
    """Regular expression with one group; the last match in what it prints counts."""
    metric_json: str | None = None
    """Dotted path to a field of the JSON that it prints: ``result.images_per_s``. Neither: its wall time."""
    higher_is_better: bool = False
    timeout_s: float = 600
    """0: none."""

    @property
    def unit(self) -> str:
        """Return ``s`` for the wall time, else the metric's own name: its field, or the name of its group."""
        if self.metric_json is not None:
            return self.metric_json.rpartition(".")[2]
        if self.metric is not None:
            return next(iter(re.compile(self.metric).groupindex), "(its metric)")
        return "s"

    def cost(self, value: float) -> float:
        """Return the value that is compared, or its inverse where a higher one is better."""
        return 1 / value if self.higher_is_better else value


class Applied(Value):
    """The settings of its Launch as the child saw them of itself."""

    threads: int | None = None
    """None of a command: only torch could tell."""
    interop_threads: int | None = None
    cpus: CpuList
    memory_policy: str | None = None
    """First word of numa_maps' policy: ``default``, ``bind:0``, ``interleave:0-1``."""
    preloaded: tuple[str, ...] = ()
    """Of the libraries to preload, those in the process's memory map."""
    capability: str | None = None


class GpuMeanwhile(Value):
    """One GPU during a measurement, at the moments at which it worked, or at all where that is not known. What its
    driver does not tell is None."""

    index: int
    """The host's number of it."""
    name: str
    uuid: str | None = None
    looks: int
    """Moments at which it was looked at."""
    mhz: float | None = None
    """Median clock."""
    least_mhz: float | None = None
    max_mhz: float | None = None
    """What it can be clocked at."""
    watts: float | None = None
    """Most power."""
    reasons: tuple[str, ...] = ()
    """All reasons for a low clock that were seen."""
    used_before: int | None = None
    """Percent of the time in which it was used, by whomever, before the measurement began."""
    others: int | None = None
    """Processes of others that computed on it; None where the driver names none, or numbers of another namespace."""


class Disturbance(Value):
    """The rest of the machine meanwhile. None where the host does not tell."""

    load: float | None = None
    """1-minute load average before the child started."""
    other_cpu: float | None = None
    """CPUs kept busy by others than the child, on average."""
    steal: float | None = None
    """Share of CPU time that the hypervisor took, 0..1."""
    throttled_s: float | None = None
    """Time the cgroup's quota stopped it."""
    swapped_bytes: int | None = None
    mhz: float | None = None
    """Mean current frequency after the run."""
    other_run: bool = False
    """Whether another run of hwdiag measured on this host at its beginning or end."""
    suspended_s: float = 0.0
    """Seconds for which the whole machine slept: clocks that time it stood still."""
    stopped_windows: int = 0
    """Windows of the block in which somebody stopped a process (SIGSTOP); they do not count."""
    gpus: tuple[GpuMeanwhile, ...] = ()
    """Of a measurement on a GPU: those that worked meanwhile."""
