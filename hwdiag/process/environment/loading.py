"""Variables that choose which libraries and compilers are used."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePath

from hwdiag.core.text import listed
from hwdiag.process.environment.elf import why_not_loaded
from hwdiag.process.environment.model import Effect, Inherited, ProcessContext, Reader, Variable

ALLOCATORS = ("tcmalloc", "jemalloc", "mimalloc")
PACKAGES = {
    "tcmalloc": "libgoogle-perftools4 (Debian, Ubuntu), gperftools-libs (Fedora)",
    "jemalloc": "libjemalloc2 (Debian, Ubuntu), jemalloc (Fedora)",
    "mimalloc": "libmimalloc2.0 (Debian, Ubuntu), mimalloc (Fedora)",
}
LAYERS = {"intel": "libiomp5", "gnu": "libgomp", "tbb": "libtbb", "sequential": None, "pgi": None}
"""Values of MKL_THREADING_LAYER, and the runtime that each takes (oneMKL developer guide)."""


def preload_words(value: str) -> list[str]:
    """Return the entries of an LD_PRELOAD: the loader splits at spaces and colons, and nothing quotes them."""
    return [word for word in re.split(r"[ :]+", value) if word]


def preload(it: Inherited) -> Effect | None:
    """Judge LD_PRELOAD, each of its files."""
    words, context = preload_words(it.value), it.context
    wrong = [(word, why) for word in words if (why := why_no_preload(word, context)) is not None]
    if wrong:
        return refused(wrong)
    heaps = [word for word in words if allocator_of(word)]
    if len(heaps) > 1:
        return Effect(
            state="overridden",
            severity="warning",
            title=f"LD_PRELOAD names {len(heaps)} allocators: {PurePath(heaps[0]).name} is used, and "
            f"{listed(PurePath(h).name for h in heaps[1:])} is overridden by it",
            why="The first that exports malloc() wins; the others take memory, and their settings do nothing.",
            remedy="Name one of them.",
        )
    return None


def why_no_preload(word: str, context: ProcessContext) -> str | None:
    """Return why the loader does not preload this, in a clause; None where nothing speaks against it."""
    mapped = context.libraries
    if "/" not in word:
        if mapped is None or any(is_named(word, path) for path in mapped):
            return None  # the loader searches for it
        return "which the loader did not find"
    if "$" in word:
        return None  # the loader fills in ORIGIN, LIB and PLATFORM
    if context.looks_at_files:
        why = why_not_loaded(word, context.arch)
        if why is not None:
            return why
    if mapped is None or any(is_named(word, path) for path in mapped) or os.path.realpath(word) in mapped:
        return None
    return "which is not in the process's memory"


def is_named(word: str, path: str) -> bool:
    """Return whether a mapped file is the one of this name; a link's target has a longer version number."""
    wanted, name = PurePath(word).name, PurePath(path).name
    return name == wanted or name.startswith(f"{wanted}.")


def refused(wrong: list[tuple[str, str]]) -> Effect:
    """Return the effect of files that the loader ignores."""
    first, why = wrong[0]
    heap = next((name for word, _ in wrong if (name := allocator_of(word))), None)
    lost = f" So malloc() is the C library's, and not {heap}'s." if heap else ""
    halves = " ".join(word for word, _ in wrong)
    cut = (
        f" The loader splits the value at spaces and colons: a path must not hold one ('{halves[:100]}')."
        if len(wrong) > 1 and any("/" not in word or not word.startswith("/") for word, _ in wrong[1:])
        else ""
    )
    found = [p for p in elsewhere(first) if p != first]
    remedy = f"Set LD_PRELOAD to the right path, `export LD_PRELOAD={found[0]}`, or " if found else ""
    install = f"Install {PACKAGES[heap]} and name its file, or t" if heap and not found else "t" if found else "T"
    return Effect(
        state="ignored",
        severity="warning",
        title=f"LD_PRELOAD names {first[:200]}, {why}: the loader ignores it"
        + (f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""),
        why=f"ld.so prints 'cannot be preloaded ... ignored' for every program that starts, and goes on "
        f"without it.{lost}{cut}",
        remedy=f"{remedy}{install}ake it away with `unset LD_PRELOAD`.",
    )


def allocator_of(word: str) -> str | None:
    """Return which allocator a file's name stands for."""
    return next((name for name in ALLOCATORS if name in PurePath(word).name), None)


def elsewhere(path: str) -> Iterator[str]:
    """Yield files of this name, or of another version of it, in the usual folders."""
    stem = PurePath(path).name.split(".so")[0]
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"):
        yield from sorted(str(file) for file in Path(folder).glob(f"{glob.escape(stem)}.so*"))


def library_path(it: Inherited) -> Effect | None:
    """Judge LD_LIBRARY_PATH by what was mapped from its folders although PyTorch brings a file of that name."""
    mapped = it.context.libraries
    if mapped is None:
        return None
    folders = {os.path.realpath(f) for f in re.split("[:;]", it.value) if f}
    torch = {str(Path(p).parent) for p in mapped if PurePath(p).name.startswith(("libtorch", "libc10"))}
    shadowing = [
        (path, own)
        for path in mapped
        if str(Path(path).parent) in folders - torch and (own := own_file(PurePath(path).name, torch)) is not None
    ]
    if not shadowing:
        return None
    path, own = shadowing[0]
    return Effect(
        state="in effect",
        severity="warning",
        title=f"LD_LIBRARY_PATH puts {path} instead of the {PurePath(path).name} that PyTorch brings",
        why=f"PyTorch was built and tested with {own}; another version of it may be slower, or fail with an undefined "
        "symbol." + (f" {len(shadowing) - 1} more are replaced so." if len(shadowing) > 1 else ""),
    )


def own_file(name: str, torch: set[str]) -> str | None:
    """Return the file of this name that lies beside torch's libraries, or in NVIDIA's packages next to them."""
    for folder in map(Path, torch):
        beside = [folder / name, *sorted((folder.parents[1] / "nvidia").glob(f"*/lib/{glob.escape(name)}"))]
        found = next((file for file in beside if file.exists()), None)
        if found is not None:
            return str(found)
    return None


def threading_layer(it: Inherited) -> Effect | None:
    """Judge MKL_THREADING_LAYER: only libmkl_rt reads it, and PyTorch's wheels have an MKL without it."""
    context, word = it.context, it.value.strip().lower()
    if not word:
        return None
    if word not in LAYERS:
        return Effect(
            state="ignored",
            severity="warning",
            title=f"{it.shown} is ignored: MKL knows INTEL, GNU, TBB and SEQUENTIAL",
            why="It takes its default, INTEL.",
        )
    if context.has("libmkl_rt") is False:
        return Effect(
            state="ignored",
            severity="note",
            title=f"{it.shown} is ignored: no libmkl_rt is in this process, and nothing else reads it",
            why="The MKL of PyTorch's wheels is linked to GNU OpenMP for good.",
        )
    wanted = LAYERS[word]
    others = [n for n in ("libgomp", "libiomp5", "libomp") if context.has(reader_of(n)) and n != wanted]
    if wanted in ("libiomp5", "libgomp") and others and context.has("libmkl_rt"):
        return Effect(
            state="in effect",
            severity="warning",
            title=f"{it.shown} makes MKL take {wanted}, and {listed(others)} is loaded as well",
            why="Two OpenMP runtimes each start a thread for every core; mkl-service refuses INTEL beside libgomp with "
            "'incompatible with libgomp'.",
            remedy=f"Set it to what is loaded, `{it.name}={'GNU' if 'libgomp' in others else 'INTEL'}`, or take it "
            f"away with `unset {it.name}`.",
        )
    if word == "sequential" and context.has("libmkl_rt"):
        return Effect(
            state="in effect",
            severity="warning",
            title=f"{it.shown} keeps MKL to 1 of {len(context.cpus)} CPUs",
            why="It turns MKL's threads off: NumPy and SciPy, where they use it, compute with one.",
        )
    return None


def reader_of(runtime: str) -> Reader:
    """Return the reader that stands for an OpenMP runtime."""
    return "libgomp" if runtime == "libgomp" else "libiomp5 or libomp"


def compiler(it: Inherited) -> Effect | None:
    """Judge CC and CXX: torch.compile starts what they name."""
    words = it.value.split()
    if not words or it.context.commands is None or words[0] in it.context.commands:
        return None
    return Effect(
        state="in effect",
        severity="warning",
        title=f"{it.shown} names a compiler that is not there: torch.compile fails with it",
        why="TorchInductor starts what CXX names, and Triton what CC names, instead of g++ and gcc.",
        remedy=f"Install it, or take it away with `unset {it.name}`.",
    )


VARIABLES = (
    Variable(
        pattern="LD_PRELOAD",
        reader="the dynamic loader",
        scope="loading",
        severity="note",
        effect="It loads these libraries into every program that is started, in front of all others.",
        advice="Set it for one command line only.",
        source="ld.so(8)",
        emit="per program",
        forces=True,
        judge=preload,
    ),
    Variable(
        pattern="LD_LIBRARY_PATH",
        reader="the dynamic loader",
        scope="loading",
        severity="note",
        effect="The loader looks in these folders before it looks in those that libraries ask for by RUNPATH.",
        advice="Leave it unset: PyTorch's packages find their libraries without it.",
        source="ld.so(8)",
        emit="never",
        judge=library_path,
    ),
    Variable(
        pattern="MKL_THREADING_LAYER|MKL_SERVICE_FORCE_INTEL",
        reader="libmkl_rt",
        scope="loading",
        severity="note",
        effect="It chooses the OpenMP runtime of libmkl_rt, as conda's NumPy has it.",
        advice="Leave it unset, unless mkl-service asks for it.",
        source="oneMKL developer guide, MKL_THREADING_LAYER; mkl-service, mkl/__init__.py",
        emit="never",
        judge=lambda it: threading_layer(it) if it.name == "MKL_THREADING_LAYER" else None,
    ),
    Variable(
        pattern="CC|CXX",
        reader="torch.compile",
        scope="compiling",
        severity="note",
        effect="It names the compiler that torch.compile starts.",
        advice="Name one that is there.",
        source="PyTorch, torch/_inductor/config.py: cpp.cxx; Triton, runtime/build.py",
        emit="never",
        judge=compiler,
    ),
)
