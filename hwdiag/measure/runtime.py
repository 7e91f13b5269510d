"""What else may be set for a process: the OpenMP runtime, the heap, and the kernels that libraries dispatch to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hwdiag.host.model import Host
from hwdiag.measure.launch import Allocator, Launch
from hwdiag.measure.model import Software, Workload
from hwdiag.measure.search import Question

LIBRARY_FOLDERS = ("/usr/lib/*-linux-gnu*", "/usr/lib64", "/usr/lib", "/usr/local/lib", "/usr/local/lib64")
"""Where Debian, Fedora, Arch and hand-made installations put shared libraries."""
ALLOCATOR_FILES = {
    "tcmalloc": "libtcmalloc.so.*",
    "tcmalloc_minimal": "libtcmalloc_minimal.so.*",
    "jemalloc": "libjemalloc.so.*",
    "mimalloc": "libmimalloc.so.*",
}

BOUND = {"OMP_PROC_BIND": "close", "OMP_PLACES": "cores"}
"""Each thread stays on its core (OpenMP 5.2, sections 21.1.3 and 21.1.6); libgomp, libiomp5 and libomp read both."""
WAITING = {
    # Documented in libgomp's manual, "Environment Variables", and in Intel's and LLVM's "Supported environment
    # variables". KMP_* does nothing to libgomp, nor GOMP_* to the others.
    "libgomp": ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "passive"}),
    "libiomp5": ({"KMP_BLOCKTIME": "infinite"}, {"KMP_BLOCKTIME": "0"}),
    "libomp": ({"KMP_BLOCKTIME": "infinite"}, {"KMP_BLOCKTIME": "0"}),
}
"""Variables by which threads that wait for work go on spinning, or sleep at once."""

KEPT_HEAP = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184"
"""Large blocks come from the heap and go back to it, not to the kernel: no page fault for each new result. 16 GiB."""
HUGE_HEAP = "glibc.malloc.hugetlb=1"
"""madvise(MADV_HUGEPAGE) for the heap; glibc 2.35 and newer."""


def runtime(host: Host, software: Software) -> Question:
    """Binding and waiting of the OpenMP runtime that is really loaded; nothing where it is unknown."""
    loaded = next((p.name for p in software.pools if p.api == "openmp"), "")
    many = len(host.usable_cpus) > 1
    waiting = [named(env) for env in WAITING.get(loaded, ())]
    return Question("OpenMP runtime", (named(BOUND), *waiting) if many and loaded in WAITING else ())


def interop(software: Software, workloads: Sequence[Workload]) -> Question:
    """Inter-op threads, for a file of the user's own alone: they run what ``torch.jit.fork`` starts, and no eager net
    starts any."""
    counts = {1, (software.interop_threads or 1) // 2} - {0, software.interop_threads}
    is_own = any(w.kind == "file" for w in workloads)
    options = tuple(Launch(name=f"inter-op threads={n}", interop_threads=n) for n in sorted(counts))
    return Question("inter-op threads", options if is_own else ())


def heap(host: Host, software: Software, allocators: Iterable[Allocator]) -> Question:
    """The allocators that are installed, and glibc's own with other settings."""
    replaced = tuple(Launch(name=allocator.name, allocator=allocator) for allocator in allocators)
    tunables = software.environment.get("GLIBC_TUNABLES")
    own = () if tunables else (KEPT_HEAP, f"{KEPT_HEAP}:{HUGE_HEAP}")
    names = ("glibc keeps its heap", "glibc keeps its heap, huge pages")
    glibc = tuple(Launch(name=n, env={"GLIBC_TUNABLES": value}) for n, value in zip(names, own, strict=False))
    huge = (named({"THP_MEM_ALLOC_ENABLE": "1"}),) if host.system.arch in ("x86_64", "aarch64") else ()
    return Question("heap", (*replaced, *glibc, *huge))


def named(env: dict[str, str]) -> Launch:
    """A Launch of these variables alone, named after them."""
    return Launch(name=" ".join(f"{k}={v}" for k, v in env.items()), env=env)


def find_allocators(prefix: str | None, folders: Iterable[str] = LIBRARY_FOLDERS) -> tuple[Allocator, ...]:
    """The malloc replacements installed on this host or in the interpreter's ``prefix`` (conda puts them there)."""
    found: dict[str, str] = {}
    for folder in (*((f"{prefix}/lib",) if prefix else ()), *folders):
        for name, pattern in ALLOCATOR_FILES.items():
            paths = sorted(str(p) for p in Path("/").glob(f"{folder.lstrip('/')}/{pattern}"))
            if paths:
                # The shortest name is the soname's link, which survives updates of the package.
                found.setdefault(name, min(paths, key=len))
    if "tcmalloc" in found:  # the same allocator without its profiler
        found.pop("tcmalloc_minimal", None)
    return tuple(Allocator.model_validate({"name": name, "path": path}) for name, path in sorted(found.items()))
