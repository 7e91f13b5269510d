"""Variables that choose or cap instruction sets."""

from __future__ import annotations

from collections.abc import Mapping

from hwdiag.process.environment.model import Effect, Inherited, Variable

AVX2 = ("avx2", "fma")
AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl")
ATEN_X86: Mapping[str, tuple[str, ...]] = {"default": (), "avx2": AVX2, "avx512": AVX512}
"""Values of ATEN_CPU_CAPABILITY on x86, the least first, and the features that each needs (DispatchStub.cpp)."""

ONEDNN_X86: Mapping[str, tuple[str, ...]] = {
    "sse41": ("sse4_1",),
    "avx": ("avx",),
    "avx2": ("avx2",),
    "avx2_vnni": ("avx2", "avx_vnni"),
    "avx2_vnni_2": ("avx2", "avx_vnni"),
    "avx512_core": AVX512,
    "avx512_core_vnni": (*AVX512, "avx512_vnni"),
    "avx512_core_bf16": (*AVX512, "avx512_bf16"),
    "avx512_core_fp16": (*AVX512, "avx512_fp16"),
    "avx512_core_amx": (*AVX512, "amx_tile"),
    "avx512_core_amx_fp16": (*AVX512, "amx_fp16"),
    "avx10_1_512": (*AVX512, "avx512_fp16"),
    "avx10_1_512_amx": (*AVX512, "amx_tile"),
    "avx10_1_512_amx_fp16": (*AVX512, "amx_fp16"),
    "avx10_2": ("avx10_2",),
    "avx10_2_512": ("avx10_2",),
    "default": (),
    "all": (),
}
"""Values of ONEDNN_MAX_CPU_ISA on x86 and the features that tell that the CPU has them (oneDNN, CPU dispatcher)."""

OPENBLAS_X86: Mapping[str, tuple[str, ...]] = {
    "prescott": ("pni",),
    "core2": ("ssse3",),
    "penryn": ("sse4_1",),
    "dunnington": ("sse4_1",),
    "nehalem": ("sse4_2",),
    "atom": ("ssse3",),
    "sandybridge": ("avx",),
    "bulldozer": ("avx", "fma4"),
    "piledriver": ("avx", "fma"),
    "steamroller": ("avx", "fma"),
    "excavator": AVX2,
    "haswell": AVX2,
    "zen": AVX2,
    "skylakex": AVX512,
    "cooperlake": (*AVX512, "avx512_bf16"),
    "sapphirerapids": (*AVX512, "avx512_bf16"),
}
"""Cores of OpenBLAS's x86 builds, and the features that their kernels use (driver/others/dynamic.c)."""
BEST = (("skylakex", AVX512), ("haswell", AVX2), ("sandybridge", ("avx",)), ("nehalem", ("sse4_2",)))
"""Of what wheels carry, the classes of kernels, the best first."""


def has_all(flags: tuple[str, ...] | None, needed: tuple[str, ...]) -> bool | None:
    """Return whether the CPU has these features; None where its features are not known."""
    return None if flags is None else set(needed) <= set(flags)


def aten(it: Inherited) -> Effect | None:
    """Judge ATEN_CPU_CAPABILITY: lower case counts."""
    if it.context.arch not in ("x86_64", ""):
        return generic_cap(it)
    flags, needed = it.context.flags, ATEN_X86.get(it.value)
    now = f" torch runs with {it.context.capability} kernels." if it.context.capability else ""
    if needed is None:
        lower = it.value.strip().lower()
        right = f"`{it.name}={lower}`" if lower in ATEN_X86 else "one of default, avx2 and avx512"
        return Effect(
            state="ignored",
            severity="warning",
            title=f"{it.shown} is ignored: ATen reads default, avx2 and avx512, in lower case",
            why=f"ATen warns 'ignoring invalid value' once and takes the kernels that suit the CPU.{now}",
            remedy=f"Take it away with `unset {it.name}`; if you are looking for a fault, write {right}.",
        )
    if has_all(flags, needed) is False:
        return Effect(
            state="in effect",
            severity="problem",
            title=f"{it.shown} makes ATen run {it.value.upper()} instructions that this CPU does not have",
            why="It takes the kernels without asking the CPU: the program ends with SIGILL, illegal instruction.",
        )
    better = [word for word, more in ATEN_X86.items() if has_all(flags, more) and len(more) > len(needed)]
    if flags is not None and not better:
        return None
    than = f", although this CPU has {better[-1].upper()}" if better else ""
    return Effect(
        state="in effect",
        severity="warning",
        title=f"{it.shown} keeps ATen's kernels to {it.value.upper()}{than}",
        why=f"Element-wise operations are slower for it, 5 to 15 times with default; oneDNN and MKL are not "
        f"touched.{now}",
    )


def onednn(it: Inherited) -> Effect | None:
    """Judge ONEDNN_MAX_CPU_ISA: an upper bound, in any case of letters."""
    if it.context.arch not in ("x86_64", ""):
        return generic_cap(it)
    word, flags = it.value.strip().lower(), it.context.flags
    needed = ONEDNN_X86.get(word)
    if needed is None:
        return Effect(
            state="ignored",
            severity="warning",
            title=f"{it.shown} is ignored: oneDNN knows no such instruction set",
            why="It takes what suits the CPU. Names are those of its documentation: SSE41, AVX2, AVX512_CORE ...",
            remedy=f"Take it away with `unset {it.name}`.",
        )
    if word in ("default", "all"):
        return None
    order = list(ONEDNN_X86)
    better = [w for w in order[order.index(word) + 1 : -2] if has_all(flags, ONEDNN_X86[w])]
    if flags is not None and not better:
        return None  # above the CPU, or what it has: it does nothing
    than = f", although this CPU has {better[-1].upper()}" if better else ""
    return Effect(
        state="in effect",
        severity="warning",
        title=f"{it.shown} keeps oneDNN's convolutions and products to {word.upper()}{than}",
        why="They take slower kernels for it; ATen and MKL are not touched.",
    )


def openblas_core(it: Inherited) -> Effect | None:
    """Judge OPENBLAS_CORETYPE: taken without asking the CPU."""
    word, flags = it.value.strip().lower(), it.context.flags
    needed = OPENBLAS_X86.get(word) if it.context.arch in ("x86_64", "") else ()
    if needed is None:
        return Effect(
            state="ignored",
            severity="note",
            title=f"{it.shown} is ignored: OpenBLAS knows no such core",
            why="It prints 'Core not found' and takes what suits the CPU.",
        )
    if has_all(flags, needed) is False:
        return Effect(
            state="in effect",
            severity="problem",
            title=f"{it.shown} makes OpenBLAS, and so NumPy and SciPy, run instructions that this CPU does not have",
            why="It takes that core's kernels without asking the CPU: a matrix product ends with SIGILL, illegal "
            "instruction, and so may `import numpy`, which looks as if PyTorch needed AVX2.",
        )
    if flags is not None and it.context.arch == "x86_64":
        best = next((core for core, features in BEST if has_all(flags, features)), None)
        if best is None or set(OPENBLAS_X86[best]) <= set(needed):
            return None
        than = f", although this CPU has what {best.upper()} needs"
    else:
        than = ", whatever this CPU has"
    return Effect(
        state="in effect",
        severity="warning",
        title=f"{it.shown} keeps OpenBLAS, and so NumPy and SciPy, to the kernels of that core{than}",
        why="Their matrix products are slower for it; on an older CPU they end with an illegal instruction.",
    )


def numpy_features(it: Inherited) -> Effect | None:
    """Judge NPY_DISABLE_CPU_FEATURES: names changed with NumPy 2.4."""
    if not it.value.strip():
        return None
    return Effect(
        state="in effect",
        severity="warning",
        title=f"{it.shown} keeps NumPy from kernels of these names, as far as its version knows them",
        why="NumPy 2.4 and newer know X86_V3 and X86_V4 and ignore AVX2 or AVX512F with a warning; OpenBLAS is not "
        "touched.",
    )


def generic_cap(it: Inherited) -> Effect | None:
    """Judge a cap on another architecture, whose names are not known here."""
    return Effect(
        state="in effect",
        severity="warning",
        title=f"{it.shown} chooses kernels, whatever this CPU reports",
        why="Set above the CPU it may be an illegal instruction, set below a loss of speed.",
    )


UNLESS = "Unset it, unless you are looking for a fault."

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
        judge=openblas_core,
    ),
    Variable(
        pattern="ATEN_CPU_CAPABILITY",
        reader="ATen",
        scope="instructions",
        severity="warning",
        effect="It caps the kernels of ATen and Inductor, and only those; set above the CPU, it is an illegal "
        "instruction. Values other than default, avx2 and avx512, in lower case, are ignored.",
        advice=UNLESS,
        source="PyTorch, aten/src/ATen/native/DispatchStub.cpp and torch/_inductor/cpu_vec_isa.py",
        emit="diagnosis only",
        forces=True,
        cap="ATEN_CPU_CAPABILITY=default",
        judge=aten,
    ),
    Variable(
        pattern="(ONEDNN|DNNL)_MAX_CPU_ISA",
        reader="oneDNN",
        scope="instructions",
        severity="warning",
        effect="It caps the instruction set of oneDNN's convolutions and matrix products; above the CPU it does "
        "nothing.",
        advice=UNLESS,
        source="oneDNN developer guide, CPU dispatcher control",
        emit="diagnosis only",
        cap="ONEDNN_MAX_CPU_ISA=AVX2",
        judge=onednn,
    ),
    Variable(
        pattern="MKL_ENABLE_INSTRUCTIONS",
        reader="MKL",
        scope="instructions",
        severity="warning",
        effect="It caps the instruction set of MKL on Intel CPUs; on AMD's it was seen to do nothing.",
        advice=UNLESS,
        source="oneMKL developer guide, instruction set specific dispatching; measured with torch 2.13",
        emit="diagnosis only",
        cap="MKL_ENABLE_INSTRUCTIONS=AVX2",
        does="MKL's products keep to these instructions on Intel CPUs",
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
        does="MKL computes reproducibly, at up to half of its speed",
        off=("off",),
    ),
    Variable(
        pattern="NPY_DISABLE_CPU_FEATURES",
        reader="NumPy",
        scope="instructions",
        severity="warning",
        effect="It keeps NumPy's own kernels, not OpenBLAS's, from these features. NumPy 2.4 knows X86_V3 and X86_V4; "
        "the older names are ignored with a warning.",
        advice=UNLESS,
        source="NumPy, CPU build options: runtime dispatch",
        emit="diagnosis only",
        cap="NPY_DISABLE_CPU_FEATURES='X86_V4 X86_V3'",
        judge=numpy_features,
    ),
    Variable(
        pattern="FAISS_OPT_LEVEL",
        reader="faiss",
        scope="instructions",
        severity="warning",
        effect="It chooses which of faiss's builds is loaded, whatever the CPU reports.",
        advice="Unset it.",
        source="faiss, python/loader.py",
        emit="never",
        forces=True,
        does="faiss loads this build whatever the CPU has",
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
        does="polars does not warn of missing CPU features",
    ),
    Variable(
        pattern="TORCH_NUM_THREADS|(TORCH|PYTORCH)_DISABLE_AVX(2|512)|PYTORCH_CHANNELS_LAST|MKL_DEBUG_CPU_TYPE"
        "|CUDA_AUTO_BOOST|L2_WRITER_QUEUE_MAX|VECLIB_MAXIMUM_THREADS",
        reader="nothing",
        scope="debugging",
        severity="note",
        effect="Nothing reads it: it has no effect on PyTorch.",
        advice="Remove it, so that no one relies on it.",
        source="absent from the libraries and sources of torch 2.13",
        emit="never",
    ),
)
