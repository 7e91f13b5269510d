"""Inherited environment variables that are worth a word, as data.

Each entry was checked against the reader's own source or documentation; see ``source``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from hwdiag.advise.model import Finding
from hwdiag.model import Value


class Variable(Value):
    """What is known of one variable, or of a family of them."""

    pattern: str
    """Regular expression that the whole name matches."""
    severity: Literal["problem", "warning", "note"]
    effect: str
    advice: str
    source: str


VARIABLES = (
    Variable(
        pattern="OPENBLAS_CORETYPE",
        severity="warning",
        effect="It makes OpenBLAS, and so NumPy and SciPy, take the kernels of that CPU without asking this one: "
        "slower than need be on a newer CPU, an illegal instruction on an older one.",
        advice="Unset it, unless you set it on purpose.",
        source="OpenBLAS, driver/others/dynamic.c",
    ),
    Variable(
        pattern="ATEN_CPU_CAPABILITY|ONEDNN_MAX_CPU_ISA|DNNL_MAX_CPU_ISA|NPY_DISABLE_CPU_FEATURES|MKL_ENABLE_INSTRUCTIONS",
        severity="warning",
        effect="It caps the instruction set that a library uses: meant for finding faults, not for daily work.",
        advice="Unset it, unless you are looking for a fault.",
        source="PyTorch aten/src/ATen/native/DispatchStub.cpp; oneDNN, CPU dispatcher control; NumPy, runtime dispatch",
    ),
    Variable(
        pattern="TORCH_NUM_THREADS|(TORCH|PYTORCH)_DISABLE_AVX(2|512)|PYTORCH_CHANNELS_LAST|MKL_DEBUG_CPU_TYPE|CUDA_AUTO_BOOST",
        severity="note",
        effect="Nothing reads it: it has no effect on PyTorch.",
        advice="Remove it, so that nobody relies on it.",
        source="absent from the libraries and sources of torch 2.13",
    ),
    Variable(
        pattern="OMP_PROC_BIND|OMP_PLACES|GOMP_CPU_AFFINITY",
        severity="warning",
        effect="It pins the main thread when torch is imported, and all that it starts inherits the mask: "
        "DataLoader workers then share one core.",
        advice="Set it for single-process CPU inference only.",
        source="libgomp manual, OMP_PROC_BIND",
    ),
    Variable(
        pattern="CUDA_LAUNCH_BLOCKING",
        severity="warning",
        effect="With 1, every GPU kernel is waited for: a large slow-down, meant for debugging.",
        advice="Unset it.",
        source="CUDA C++ programming guide, environment variables",
    ),
    Variable(
        pattern="(OMP|MKL|OPENBLAS)_NUM_THREADS|LD_PRELOAD|MALLOC_CONF|GLIBC_TUNABLES|THP_MEM_ALLOC_ENABLE",
        severity="note",
        effect="It was set before the workbook started, so it is part of what is measured here as today's default.",
        advice="Keep in mind that a shell without it may behave otherwise.",
        source="measured: part of every child's environment",
    ),
)


def about_environment(environment: dict[str, str]) -> Iterator[Finding]:
    """A finding for each inherited variable that the table knows."""
    for name, value in environment.items():
        known = next((v for v in VARIABLES if re.fullmatch(v.pattern, name)), None)
        if known is not None:
            yield Finding(
                id=f"inherited-{name.lower().replace('_', '-')}",
                severity=known.severity,
                title=f"{name}={value} is inherited",
                detail=f"{known.effect} {known.advice} (Source: {known.source}.)",
                evidence=(f"software.environment.{name}",),
            )
