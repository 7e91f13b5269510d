"""Known ways out, as data. Each entry was seen to work, or is in the library's own documentation; see ``source``.

"Tried" means: the newest wheels for CPython 3.11 of November 2026, imported and used under user-mode emulation of the
CPU (QEMU, ``-cpu Haswell | IvyBridge | SandyBridge | Nehalem``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from hwdiag.compat.model import Remedy
from hwdiag.core.value import Value

TRIED = "tried under emulated CPUs, November 2026"


class Known(Value):
    """A remedy and the crash that it is for. A field that is None fits every crash."""

    package: str | None = None
    """Regular expression of the distribution's normalised name."""
    object: str | None = None
    """Regular expression, searched in the name of the shared object."""
    symbol: str | None = None
    """Regular expression, searched in the symbol."""
    kind: Literal["unset", "cap", "version", "build", "compile"]
    text: str
    env: dict[str, str] = {}
    source: str

    def fits(self, package: str, shared_object: str | None, symbol: str | None) -> bool:
        """Return whether this remedy is for this crash."""
        if self.package is not None and shared_object is None:  # nothing could look inside: the package must do
            return re.fullmatch(self.package, normalised(package)) is not None
        pairs = ((self.object, shared_object), (self.symbol, symbol))
        named = self.package is None or re.fullmatch(self.package, normalised(package)) is not None
        return named and all(wanted is None or re.search(wanted, seen or "") for wanted, seen in pairs)


def normalised(name: str) -> str:
    """Return a distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


POLARS = r"polars(-runtime-.*|-lts-cpu)?"
OPENBLAS = r"openblas"

KNOWN = (
    Known(
        package=POLARS,
        object=r"polars",
        kind="build",
        text="Install the build for CPUs without AVX2: pip install 'polars[rtcompat]'.",
        source=f"polars user guide, installation: rtcompat; {TRIED} with polars 2.1",
    ),
    Known(
        package="duckdb",
        object=r"duckdb",
        kind="version",
        text="Install an earlier one: pip install 'duckdb<2' (1.4.1, 1.5.1 and 1.5.6 run without AVX).",
        source=TRIED,
    ),
    Known(
        package="bitsandbytes",
        object=r"bitsandbytes",
        kind="version",
        text="Install 0.48.2, the last whose CPU library runs without AVX2: pip install bitsandbytes==0.48.2; "
        "operations on a GPU use another library and run with newer ones too.",
        source=f"{TRIED} with 0.48.2, 0.49.2, 0.50.0 and 0.50.2",
    ),
    Known(
        package="lancedb|pylance|lance",
        object=r"lance",
        kind="compile",
        text="No released wheel runs without AVX2: build it from source on this host, or do without it.",
        source="lance-format/lance issue 2195, lancedb/lancedb issue 1437",
    ),
    Known(
        package="tensorflow(-cpu)?|mediapipe",
        kind="compile",
        text="Its wheels need AVX: on a CPU without it, build it from source, or do without it.",
        source=f"{TRIED} with tensorflow-cpu 2.21 and mediapipe 1.2",
    ),
    Known(
        object=OPENBLAS,
        kind="cap",
        text="OPENBLAS_CORETYPE=Nehalem keeps OpenBLAS to its SSE4.2 kernels. Unset, it asks the CPU, which is faster.",
        env={"OPENBLAS_CORETYPE": "Nehalem"},
        source="OpenBLAS, driver/others/dynamic.c",
    ),
    Known(
        object=r"libtorch_cpu",
        symbol=r"fbgemm",
        kind="build",
        text="Only quantised operations through FBGEMM need this: use fp32, or an engine of "
        "torch.backends.quantized.supported_engines other than fbgemm and x86, such as qnnpack.",
        source=f"{TRIED} with torch 2.13 and 2.15",
    ),
    Known(
        object=r"libtorch_cpu",
        symbol=r"dnnl",
        kind="cap",
        text="ONEDNN_MAX_CPU_ISA=SSE41 keeps oneDNN to its SSE4.1 kernels, at a large loss of speed.",
        env={"ONEDNN_MAX_CPU_ISA": "SSE41"},
        source="oneDNN developer guide, CPU dispatcher control",
    ),
    Known(
        object=r"libtorch_cpu",
        kind="cap",
        text="ATEN_CPU_CAPABILITY=default keeps ATen to its portable kernels, 5 to 15 times slower where they matter.",
        env={"ATEN_CPU_CAPABILITY": "default"},
        source="PyTorch, aten/src/ATen/native/DispatchStub.cpp",
    ),
    Known(
        object=r"_multiarray_umath|_simd",
        kind="cap",
        text="NPY_DISABLE_CPU_FEATURES='X86_V3 X86_V4' keeps NumPy to its baseline of x86-64-v2.",
        env={"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"},
        source="NumPy, CPU build options: runtime dispatch (names of NumPy 2.4)",
    ),
)


def known_remedies(package: str, shared_object: str | None, symbol: str | None) -> Iterator[Remedy]:
    """Yield the known remedies that fit a crash in this package, shared object and symbol."""
    for known in KNOWN:
        if known.fits(package, shared_object, symbol):
            yield Remedy(kind=known.kind, text=known.text, source=known.source, env=known.env)


def compile_remedy(package: str) -> Remedy:
    """Return the remedy that exists for every wheel that was built for another CPU: to compile it here."""
    name = normalised(package)
    return Remedy(
        kind="compile",
        text=f"Build it on this host for this host: CFLAGS=-march=native CXXFLAGS=-march=native "
        f"RUSTFLAGS='-C target-cpu=native' pip install --no-binary {name} --force-reinstall {name}. "
        "Flags do nothing to an installed wheel, and what they build runs on this kind of CPU only.",
        source="GCC, x86 options: -march; rustc codegen options: target-cpu; pip install --no-binary",
    )
