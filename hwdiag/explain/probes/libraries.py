"""Probe of the OpenMP runtimes, BLAS and allocators that the program has mapped, and of whether they fit together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath

from hwdiag.core.finding import Check, Finding
from hwdiag.core.text import listed, plural
from hwdiag.explain.model import Answer, Case
from hwdiag.process.environment.loading import allocator_of, is_named, preload_words
from hwdiag.process.observation.model import ObservedProcess

RUNTIMES = {
    "GNU OpenMP (libgomp)": r"libgomp[-.\w]*\.so",
    "Intel OpenMP (libiomp5)": r"libiomp5[-.\w]*\.so",
    "LLVM OpenMP (libomp)": r"libomp(5|[-.])[-.\w]*so",
}
BLAS = {
    "OpenBLAS": r"lib(scipy_)?openblas[-.\w]*\.so",
    "MKL": r"libmkl_(rt|core)[-.\w]*\.so",
    "BLIS": r"libblis[-.\w]*\.so",
    "NVPL": r"libnvpl_blas[-.\w]*\.so",
}
REFERENCE = re.compile(r".*/(blas|lapack|reference)/lib(blas|lapack)\.so[.\d]*|.*/libblas\.so\.3\.\d+\.\d+")
"""Where Debian and Fedora install the reference BLAS, which was made to be read and not to be fast."""
SANITIZERS = {"asan": "AddressSanitizer", "tsan": "ThreadSanitizer", "msan": "MemorySanitizer"}


def look(case: Case) -> Iterator[Answer]:
    """Yield what does not fit together, and what is mapped."""
    shown = [p for p in case.computing if p.libraries]
    if not shown:
        hidden = (reason for p in case.computing for reason in p.hidden)
        why = next(hidden, "it ended before its libraries could be looked at")
        yield Check(id="libraries", state="unchecked", title="The libraries that it has mapped", detail=why)
        return
    process = max(shown, key=lambda p: len(p.libraries))
    said = [*runtimes(process), *reference_blas(process), *two_blas(process), *sanitizers(process)]
    yield from said
    if not said:
        kinds = [*by_kind(process.libraries, RUNTIMES), *by_kind(process.libraries, BLAS)]
        heap = next((name for path in process.libraries if (name := allocator_of(path))), None)
        yield Check(
            id="libraries",
            state="fine",
            title="The libraries that it has mapped fit together: "
            + (listed([*kinds, *([heap] if heap else [])]) or "none that computes in threads of its own"),
            detail=f"PID {process.pid}, {plural(len(process.libraries), 'file')} of interest",
        )


def by_kind(libraries: tuple[str, ...], kinds: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the mapped files of each kind that is there."""
    found = {
        kind: [path for path in libraries if re.match(pattern, PurePath(path).name)] for kind, pattern in kinds.items()
    }
    return {kind: paths for kind, paths in found.items() if paths}


def runtimes(process: ObservedProcess) -> Iterator[Finding]:
    """Yield a finding where there are two OpenMP runtimes. Copies of the same one, as wheels bring them, are usual."""
    found = by_kind(process.libraries, RUNTIMES)
    if len(found) < 2:
        return
    preloads = preload_words(process.environment.get("LD_PRELOAD", ""))
    if any(is_named(word, path) for word in preloads for paths in found.values() for path in paths):
        return  # the one that is preloaded answers the calls for the others
    files = [paths[0] for paths in found.values()]
    silenced = "KMP_DUPLICATE_LIB_OK" in process.environment
    yield Finding(
        id="two-openmp-runtimes",
        severity="warning",
        title=f"Two OpenMP runtimes are in one process: {listed(found)}",
        detail=f"{listed(f'{path} ({owner(path)})' for path in files)}. Each starts a thread for every core, they know "
        "nothing of each other, and spin on the same cores; Intel's may end the program with 'OMP: Error #15', and "
        "results may be wrong"
        + (", which KMP_DUPLICATE_LIB_OK hides here" if silenced else "")
        + ". Install all packages from one channel, so that one runtime serves them: with pip, take away the package "
        "that brings the second; with conda, 'conda install -c conda-forge \"_openmp_mutex=*=*_llvm\"'. Or have one "
        f"answer for both: 'env LD_PRELOAD={intel(files)} ...'.",
        evidence=("program.processes",),
    )


def intel(files: list[str]) -> str:
    """Return the runtime that also answers GNU OpenMP's calls: Intel's or LLVM's."""
    return next((f for f in files if not PurePath(f).name.startswith("libgomp")), files[0])


def owner(path: str) -> str:
    """Return what a file belongs to: its folder in site-packages, or the system."""
    parts = PurePath(path).parts
    at = next((i for i, part in enumerate(parts) if part in ("site-packages", "dist-packages")), None)
    if at is None or at + 1 >= len(parts) - 1:
        return "of the system" if path.startswith("/usr/") else f"in {PurePath(path).parent}"
    return f"of {parts[at + 1].removesuffix('.libs')}"


def reference_blas(process: ObservedProcess) -> Iterator[Finding]:
    """Yield a finding where NumPy computes with the reference BLAS."""
    slow = next((path for path in process.libraries if REFERENCE.fullmatch(path)), None)
    if slow is not None and not by_kind(process.libraries, BLAS):
        yield Finding(
            id="reference-blas",
            severity="warning",
            title=f"Matrix products of NumPy go to the reference BLAS, {slow}: one thread, without vector instructions",
            detail="It was made to be read, and is many times slower than an optimised one. Install one: 'apt install "
            "libopenblas0-pthread', 'dnf install openblas', or NumPy from PyPI, which brings its own.",
            evidence=("program.processes",),
        )


def two_blas(process: ObservedProcess) -> Iterator[Finding]:
    """Yield a note on two BLAS with many threads. That of torch's wheel is linked into it and does not show."""
    found, cpus = by_kind(process.libraries, BLAS), len(process.first_allowed or process.allowed)
    if len(found) > 1 and process.most_threads > 3 * max(1, cpus):
        yield Finding(
            id="two-blas",
            severity="note",
            title=f"{listed(found)} are in one process, each with threads of its own: "
            f"{process.most_threads} threads on {plural(cpus, 'CPU')}",
            detail=f"{listed(f'{paths[0]} ({owner(paths[0])})' for paths in found.values())}. Used in turns they do no "
            "harm; used at the same time they take each other's cores. 'threadpoolctl.threadpool_limits(1)' round one "
            "of them keeps it to one thread, and so does OPENBLAS_NUM_THREADS=1.",
            evidence=("program.processes",),
        )


def sanitizers(process: ObservedProcess) -> Iterator[Finding]:
    """Yield a finding where a sanitizer's runtime is in the process."""
    names = [PurePath(path).name for path in process.libraries]
    found = [
        title for word, title in SANITIZERS.items() if any(re.match(rf"lib(clang_rt\.)?{word}\b", n) for n in names)
    ]
    if found:
        yield Finding(
            id="sanitizer",
            severity="warning",
            title=f"{listed(found)} checks every memory access of it",
            detail="It is meant for finding faults, and makes programs two to fifteen times slower. Take it out of "
            "LD_PRELOAD, or build without -fsanitize.",
            evidence=("program.processes",),
        )
