"""The registry of environment variables that are worth a word when they are inherited, as data.

Each entry was checked against the reader's own source or documentation; see ``source``. Variables act at process start.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal

from hwdiag.core.finding import Finding
from hwdiag.core.value import Value
from hwdiag.process.model import Software

Reader = Literal[
    "any OpenMP", "libgomp", "libiomp5 or libomp", "MKL", "oneDNN", "ATen", "OpenBLAS", "NumPy", "numexpr", "faiss",
    "polars", "PyTorch's allocators", "glibc", "jemalloc", "the dynamic loader", "CUDA", "nothing",
]  # fmt: skip

Scope = Literal["threads", "binding", "instructions", "memory", "debugging", "loading"]


class Variable(Value):
    """What is known of one variable, or of a family of them."""

    pattern: str
    """Regular expression that the whole name matches."""
    reader: Reader
    scope: Scope
    severity: Literal["problem", "warning", "note"]
    effect: str
    advice: str
    source: str
    emit: Literal["per program", "diagnosis only", "never"]
    """Whether a launch script may set it."""
    forces: bool = False
    """Whether it can make a library run what this CPU or this process cannot: a suspect after a crash."""
    cap: str | None = None
    """The setting that keeps its reader from newer instructions for real, as one would write it."""


VARIABLES = (
    Variable(
        pattern="OPENBLAS_CORETYPE",
        reader="OpenBLAS",
        scope="instructions",
        severity="warning",
        effect="It makes OpenBLAS, and so NumPy and SciPy, take the kernels of that CPU without asking this one: "
        "slower than need be on a newer CPU, an illegal instruction on an older one.",
        advice="Unset it, unless you set it on purpose.",
        source="OpenBLAS, driver/others/dynamic.c",
        emit="never",
        forces=True,
        cap="OPENBLAS_CORETYPE=Nehalem",
    ),
    Variable(
        pattern="ATEN_CPU_CAPABILITY",
        reader="ATen",
        scope="instructions",
        severity="warning",
        effect="It caps the kernels of ATen and Inductor, and only those; set above the CPU, it is an illegal "
        "instruction. Values other than default, avx2 and avx512, in lower case, are ignored.",
        advice="Unset it, unless you are looking for a fault.",
        source="PyTorch, aten/src/ATen/native/DispatchStub.cpp and torch/_inductor/cpu_vec_isa.py",
        emit="diagnosis only",
        forces=True,
        cap="ATEN_CPU_CAPABILITY=default",
    ),
    Variable(
        pattern="(ONEDNN|DNNL)_MAX_CPU_ISA",
        reader="oneDNN",
        scope="instructions",
        severity="warning",
        effect="It caps the instruction set of oneDNN's convolutions and matrix products; above the CPU it does "
        "nothing.",
        advice="Unset it, unless you are looking for a fault.",
        source="oneDNN developer guide, CPU dispatcher control",
        emit="diagnosis only",
        cap="ONEDNN_MAX_CPU_ISA=AVX2",
    ),
    Variable(
        pattern="MKL_ENABLE_INSTRUCTIONS",
        reader="MKL",
        scope="instructions",
        severity="warning",
        effect="It caps the instruction set of MKL on Intel CPUs; on AMD's it was seen to do nothing.",
        advice="Unset it, unless you are looking for a fault.",
        source="oneMKL developer guide, instruction set specific dispatching; measured with torch 2.13",
        emit="diagnosis only",
        cap="MKL_ENABLE_INSTRUCTIONS=AVX2",
    ),
    Variable(
        pattern="MKL_CBWR",
        reader="MKL",
        scope="instructions",
        severity="warning",
        effect="It makes MKL's results reproducible bit for bit across CPUs, at up to half of its speed.",
        advice="Unset it, unless you need that.",
        source="oneMKL developer guide, conditional numerical reproducibility; measured with torch 2.13",
        emit="diagnosis only",
    ),
    Variable(
        pattern="NPY_DISABLE_CPU_FEATURES",
        reader="NumPy",
        scope="instructions",
        severity="warning",
        effect="It keeps NumPy's own kernels, not OpenBLAS's, from these features. NumPy 2.4 knows X86_V3 and X86_V4; "
        "the older names are ignored with a warning.",
        advice="Unset it, unless you are looking for a fault.",
        source="NumPy, CPU build options: runtime dispatch",
        emit="diagnosis only",
        cap="NPY_DISABLE_CPU_FEATURES='X86_V4 X86_V3'",
    ),
    Variable(
        pattern="FAISS_OPT_LEVEL",
        reader="faiss",
        scope="instructions",
        severity="warning",
        effect="It chooses which of faiss's builds is loaded, in place of what the CPU tells.",
        advice="Unset it.",
        source="faiss, python/loader.py",
        emit="never",
        forces=True,
    ),
    Variable(
        pattern="POLARS_SKIP_CPU_CHECK",
        reader="polars",
        scope="instructions",
        severity="warning",
        effect="It silences polars' warning of missing CPU features; the illegal instruction comes all the same.",
        advice="Unset it, and install polars[rtcompat] where the warning is right.",
        source="polars, _cpu_check.py",
        emit="never",
    ),
    Variable(
        pattern="TORCH_NUM_THREADS|(TORCH|PYTORCH)_DISABLE_AVX(2|512)|PYTORCH_CHANNELS_LAST|MKL_DEBUG_CPU_TYPE"
        "|CUDA_AUTO_BOOST|L2_WRITER_QUEUE_MAX",
        reader="nothing",
        scope="debugging",
        severity="note",
        effect="Nothing reads it: it has no effect on PyTorch.",
        advice="Remove it, so that nobody relies on it.",
        source="absent from the libraries and sources of torch 2.13",
        emit="never",
    ),
    Variable(
        pattern=r"KMP_\w+",
        reader="libiomp5 or libomp",
        scope="binding",
        severity="warning",
        effect="It steers Intel's or LLVM's OpenMP: KMP_AFFINITY binds its threads, KMP_BLOCKTIME says how long they "
        "spin after their work.",
        advice="Set it for one program only, after a measured gain.",
        source="LLVM/OpenMP runtime, environment variables",
        emit="per program",
    ),
    Variable(
        pattern="GOMP_SPINCOUNT",
        reader="libgomp",
        scope="threads",
        severity="note",
        effect="It says how long idle threads of GNU OpenMP spin before they sleep.",
        advice="Rarely worth it: OMP_WAIT_POLICY is the portable form.",
        source="libgomp manual, GOMP_SPINCOUNT",
        emit="per program",
    ),
    Variable(
        pattern="OMP_PROC_BIND|OMP_PLACES|GOMP_CPU_AFFINITY",
        reader="any OpenMP",
        scope="binding",
        severity="warning",
        effect="It pins the main thread when torch is imported, and all that it starts inherits the mask: "
        "DataLoader workers then share one core.",
        advice="Set it for single-process CPU inference only.",
        source="libgomp manual, OMP_PROC_BIND",
        emit="per program",
    ),
    Variable(
        pattern="OMP_WAIT_POLICY",
        reader="any OpenMP",
        scope="threads",
        severity="note",
        effect="It was set before the workbook started, so it is part of what is measured here: active threads keep "
        "their cores busy while idle.",
        advice="Keep in mind that a shell without it may behave otherwise.",
        source="OpenMP 5.2, OMP_WAIT_POLICY",
        emit="per program",
    ),
    Variable(
        pattern="CUDA_LAUNCH_BLOCKING",
        reader="CUDA",
        scope="debugging",
        severity="warning",
        effect="With 1, every GPU kernel is waited for: a large slow-down, meant for debugging.",
        advice="Unset it.",
        source="CUDA C++ programming guide, environment variables",
        emit="never",
    ),
    Variable(
        pattern="MKL_VERBOSE",
        reader="MKL",
        scope="debugging",
        severity="warning",
        effect="It makes MKL print a line for each call, which takes time and fills logs.",
        advice="Unset it, unless you are looking for a fault.",
        source="oneMKL developer guide, MKL_VERBOSE",
        emit="diagnosis only",
    ),
    Variable(
        pattern="(ONEDNN|DNNL)_VERBOSE",
        reader="oneDNN",
        scope="debugging",
        severity="warning",
        effect="It makes oneDNN print a line for each call, which takes time and fills logs.",
        advice="Unset it, unless you are looking for a fault.",
        source="oneDNN developer guide, verbose mode",
        emit="diagnosis only",
    ),
    Variable(
        pattern="LD_PRELOAD",
        reader="the dynamic loader",
        scope="loading",
        severity="note",
        effect="It was set before the workbook started, so it is part of what is measured here as today's default.",
        advice="Keep in mind that a shell without it may behave otherwise.",
        source="ld.so(8)",
        emit="per program",
        forces=True,
    ),
    Variable(
        pattern="MALLOC_CONF",
        reader="jemalloc",
        scope="memory",
        severity="note",
        effect="It steers jemalloc, so it is part of what is measured here as today's default.",
        advice="Keep in mind that a shell without it may behave otherwise.",
        source="jemalloc manual, TUNING",
        emit="per program",
    ),
    Variable(
        pattern="OMP_NUM_THREADS",
        reader="any OpenMP",
        scope="threads",
        severity="note",
        effect="It was set before the workbook started, so it is part of what is measured here as today's default.",
        advice="Keep in mind that a shell without it may behave otherwise.",
        source="OpenMP 5.2, OMP_NUM_THREADS",
        emit="per program",
    ),
    Variable(
        pattern="MKL_NUM_THREADS",
        reader="MKL",
        scope="threads",
        severity="note",
        effect="It was set before the workbook started, so it is part of what is measured here as today's default; "
        "where torch has MKL, it wins over OMP_NUM_THREADS.",
        advice="Set both to the same, or neither.",
        source="oneMKL developer guide, MKL_NUM_THREADS; measured with torch 2.13 on x86",
        emit="per program",
    ),
    Variable(
        pattern="OPENBLAS_NUM_THREADS",
        reader="OpenBLAS",
        scope="threads",
        severity="note",
        effect="It sets the threads of OpenBLAS, and so of NumPy and SciPy; torch's are its own.",
        advice="Keep in mind that a shell without it may behave otherwise.",
        source="OpenBLAS, runtime variables",
        emit="per program",
    ),
    Variable(
        pattern="NUMEXPR_(NUM|MAX)_THREADS",
        reader="numexpr",
        scope="threads",
        severity="note",
        effect="It sets the threads of numexpr, which pandas' eval uses, and of nothing else.",
        advice="Keep in mind that a shell without it may behave otherwise.",
        source="numexpr, utils.py",
        emit="per program",
    ),
    Variable(
        pattern="PYTORCH_(CUDA_)?ALLOC_CONF|THP_MEM_ALLOC_ENABLE",
        reader="PyTorch's allocators",
        scope="memory",
        severity="note",
        effect="It was set before the workbook started, so it is part of what is measured here as today's default.",
        advice="Keep in mind that a shell without it may behave otherwise.",
        source="PyTorch, CUDA semantics: memory management; c10/core/alignment and CPUAllocator",
        emit="per program",
    ),
    Variable(
        pattern="GLIBC_TUNABLES",
        reader="glibc",
        scope="memory",
        severity="note",
        effect="It was set before the workbook started, so it is part of what is measured here as today's default.",
        advice="Keep in mind that a shell without it may behave otherwise.",
        source="glibc manual, tunables",
        emit="per program",
    ),
)

PRESENT: dict[Reader, Callable[[Software], bool]] = {
    "libgomp": lambda s: has_pool(s, "libgomp"),
    "libiomp5 or libomp": lambda s: has_pool(s, "libiomp5", "libomp"),
    "MKL": lambda s: has_pool(s, "MKL") or bool(s.mkl),
    "oneDNN": lambda s: s.onednn is not False,
}
"""How the software tells whether a reader is in the process; the others are taken to be."""


IMAGINED_CAPS = ("TORCH_DISABLE_AVX2", "TORCH_DISABLE_AVX512", "PYTORCH_DISABLE_AVX2", "MKL_DEBUG_CPU_TYPE")
"""Variables that are told to cap an instruction set, and that nothing reads; the registry has them too."""


def caps_of(software: Software) -> tuple[str, ...]:
    """The settings that cap the instruction set for real in this software: those whose reader is in the process."""
    readers: dict[Reader, Callable[[Software], bool]] = {
        **PRESENT,
        "OpenBLAS": lambda s: has_pool(s, "OpenBLAS"),
        "NumPy": lambda s: s.numpy_version is not None,
    }
    capping = ((v, readers.get(v.reader)) for v in VARIABLES if v.cap is not None)
    return tuple(f"{v.cap} ({v.reader})" for v, is_there in capping if is_there is None or is_there(software))


def has_pool(software: Software, *names: str) -> bool:
    return any(pool.name in names for pool in software.pools)


def known_variable(name: str) -> Variable | None:
    """The registry's entry of a variable."""
    return next((v for v in VARIABLES if re.fullmatch(v.pattern, name)), None)


def can_force(name: str) -> bool:
    """Whether this variable can make a library run what the CPU or the process cannot."""
    known = known_variable(name)
    return known is not None and known.forces


def is_read_by_libraries(name: str) -> bool:
    """Whether the registry knows this variable, as read or as wrongly believed to be."""
    return known_variable(name) is not None


def about_environment(software: Software) -> Iterator[Finding]:
    """A finding for each inherited variable that the registry knows, as far as its reader is in the process."""
    for name, value in software.environment.items():
        known = known_variable(name)
        if known is None:
            continue
        present = PRESENT.get(known.reader)
        if present is not None and software.outcome.ok and not present(software):
            yield unread(name, value, known)
            continue
        yield Finding(
            id=f"inherited-{slug(name)}",
            severity=known.severity,
            title=f"{name}={value} is inherited",
            detail=f"{known.effect} {known.advice} (Source: {known.source}.)",
            evidence=(f"software.environment.{name}",),
        )


def unread(name: str, value: str, known: Variable) -> Finding:
    """The finding about a variable whose reader is not in the process."""
    return Finding(
        id=f"inherited-{slug(name)}",
        severity="note",
        title=f"{name}={value} is inherited, and nothing here reads it",
        detail=f"Only {known.reader} reads it, which this torch does not load: it has no effect. "
        f"Remove it, so that nobody relies on it. (Source: {known.source}.)",
        evidence=(f"software.environment.{name}", "software.pools"),
    )


def slug(name: str) -> str:
    return name.lower().replace("_", "-")
