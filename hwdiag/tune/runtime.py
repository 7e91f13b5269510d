"""Levers of a process's runtime: the OpenMP runtime, the heap, and the kernels that libraries dispatch to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hwdiag.experiment.lever import Factor, Lever
from hwdiag.experiment.model import Workload
from hwdiag.host.model import Host
from hwdiag.process.launch import Allocator, Launch
from hwdiag.process.model import Software

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


def runtime(host: Host, software: Software) -> Factor:
    """Return binding and waiting of the OpenMP runtime that is really loaded; nothing where it is unknown."""
    loaded = next((p.name for p in software.pools if p.api == "openmp"), "")
    levers = (by_environment("openmp", BOUND), *(by_environment("openmp", env) for env in WAITING.get(loaded, ())))
    return Factor("openmp", levers if len(host.usable_cpus) > 1 and loaded in WAITING else ())


def interop(software: Software, workloads: Sequence[Workload]) -> Factor:
    """Return inter-op threads, for a file of the user's own alone.

    They run what ``torch.jit.fork`` starts, and no eager net starts any.
    """
    counts = {1, (software.interop_threads or 1) // 2} - {0, software.interop_threads}
    is_own = any(w.kind == "file" for w in workloads)
    levers = (
        Lever(id=f"interop={n}", factor="interop", title=f"inter-op threads={n}", launch=Launch(interop_threads=n))
        for n in sorted(counts)
    )
    return Factor("interop", tuple(levers) if is_own else ())


def heap(host: Host, software: Software, allocators: Iterable[Allocator]) -> Factor:
    """Return the allocators that are installed, and glibc's own with other settings."""
    replaced = (Lever(id=f"heap.{a.name}", factor="heap", title=a.name, launch=Launch(allocator=a)) for a in allocators)
    is_taken = "GLIBC_TUNABLES" in software.environment
    glibc = () if is_taken else (
        by_environment("heap", {"GLIBC_TUNABLES": KEPT_HEAP}, "glibc keeps its heap"),
        by_environment("heap", {"GLIBC_TUNABLES": f"{KEPT_HEAP}:{HUGE_HEAP}"}, "glibc keeps its heap, huge pages"),
    )  # fmt: skip
    huge = (by_environment("heap", {"THP_MEM_ALLOC_ENABLE": "1"}),) if host.system.arch in ("x86_64", "aarch64") else ()
    return Factor("heap", (*replaced, *glibc, *huge))


def by_environment(factor: str, env: dict[str, str], title: str = "") -> Lever:
    """Return a lever that sets these variables alone."""
    text = " ".join(f"{name}={value}" for name, value in env.items())
    return Lever(id=text.replace(" ", ","), factor=factor, title=title or text, launch=Launch(env=env))


def find_allocators(prefix: str | None, folders: Iterable[str] = LIBRARY_FOLDERS) -> tuple[Allocator, ...]:
    """Return the malloc replacements installed on this host or in the interpreter's ``prefix`` (conda puts them
    there)."""
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
