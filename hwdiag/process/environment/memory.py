"""Variables that steer memory allocators."""

from __future__ import annotations

from hwdiag.process.environment.loading import allocator_of, preload_words
from hwdiag.process.environment.model import Effect, Inherited, ProcessContext, Reader, Variable

NO_CHECK = (2, 34)
"""glibc from which MALLOC_CHECK_ needs libc_malloc_debug.so preloaded (its NEWS)."""


def heap_in_place(context: ProcessContext) -> str | None:
    """Return the allocator that takes glibc's place, as far as it is known."""
    words = preload_words(context.environment.get("LD_PRELOAD", ""))
    names = (allocator_of(w) for w in (context.libraries if context.libraries is not None else words))
    return next((name for name in names if name), None)


def instead(it: Inherited) -> Effect | None:
    """Return that another allocator is there, which does not read glibc's variables."""
    heap = heap_in_place(it.context)
    if heap is None:
        return None
    return Effect(
        state="ignored",
        severity="note",
        title=f"{it.shown} is ignored: {heap} takes the place of glibc's malloc",
        why="Only glibc's own malloc reads it.",
    )


def perturb(it: Inherited) -> Effect | None:
    """Judge MALLOC_PERTURB_: every block is filled when it is allocated and freed."""
    word = it.value.strip()
    if not word.isdecimal() or int(word) & 255 == 0:
        return None
    return instead(it) or Effect(
        state="in effect",
        severity="warning",
        title=f"{it.shown} is in effect: glibc overwrites every memory block when it is allocated and freed",
        why="It is meant for finding uses of freed memory; each tensor of PyTorch's is written once more for it.",
    )


def check(it: Inherited) -> Effect | None:
    """Judge MALLOC_CHECK_: since glibc 2.34 it needs a library of its own."""
    if it.value.strip() in ("", "0"):
        return None
    glibc = it.context.glibc
    preloaded = "libc_malloc_debug" in it.context.environment.get("LD_PRELOAD", "")
    if glibc is not None and glibc >= NO_CHECK and not preloaded:
        return Effect(
            state="ignored",
            severity="note",
            title=f"{it.shown} is ignored: glibc {glibc[0]}.{glibc[1]} reads it only with libc_malloc_debug.so "
            "preloaded",
            why="The checks moved to that library with glibc 2.34.",
        )
    return instead(it) or Effect(
        state="in effect",
        severity="warning",
        title=f"{it.shown} is in effect: glibc checks every memory block that is allocated and freed",
        why="It is meant for finding faults, and every allocation of every thread waits for one lock.",
    )


def arenas(it: Inherited) -> Effect | None:
    """Judge MALLOC_ARENA_MAX: one arena is one lock for all threads."""
    word = it.value.strip()
    if word != "1" or len(it.context.cpus) < 2:
        return None
    return instead(it) or Effect(
        state="in effect",
        severity="note",
        title=f"{it.shown} is in effect: all threads allocate from one arena, and wait for each other there",
        why="It saves memory in programs of many threads; threads that allocate much are slower for it.",
        remedy=f"Take it away with `unset {it.name}`, or try `{it.name}=4`.",
    )


def without_allocator(name: Reader) -> Variable:
    """Return the registry's entry of settings whose allocator has to be preloaded or linked."""
    patterns = {"jemalloc": "MALLOC_CONF|_RJEM_MALLOC_CONF", "tcmalloc": r"TCMALLOC_\w+", "mimalloc": r"MIMALLOC_\w+"}

    def judge(it: Inherited) -> Effect | None:
        context = it.context
        there = any(allocator_of(path) == name for path in context.libraries or ())
        asked = any(allocator_of(w) == name for w in preload_words(context.environment.get("LD_PRELOAD", "")))
        if there or (context.libraries is None and asked):
            return None
        known = "no such library is in this process" if context.libraries is not None else f"nothing preloads {name}"
        return Effect(
            state="ignored",
            severity="note",
            title=f"{it.shown} is ignored: it steers {name}, and {known}",
            why=f"Programs that are not linked with {name} do not read it.",
            remedy=f"Preload {name}, or take it away with `unset {it.name}`.",
        )

    return Variable(
        pattern=patterns[name],
        reader=name,
        scope="memory",
        severity="note",
        effect=f"It steers {name}.",
        advice=f"Set it only where {name} is preloaded.",
        source=f"{name} manual",
        emit="per program",
        judge=judge,
    )


def tunables(it: Inherited) -> Effect | None:
    """Judge GLIBC_TUNABLES, ``name=value`` joined by colons: glibc ignores what it does not know, without a word."""
    known = it.context.tunables
    wrong = []
    for word in it.value.split(":"):
        name, equals, value = word.partition("=")
        if not word:
            continue
        if not equals or not value or not name.startswith("glibc."):
            wrong.append((word, "is not of the form glibc.NAMESPACE.NAME=VALUE"))
        elif known is not None and name not in known:
            wrong.append((name, "is not known to this glibc"))
    if not wrong:
        return None
    first, why = wrong[0]
    return Effect(
        state="ignored",
        severity="warning",
        title=f"GLIBC_TUNABLES: {first[:80]} {why}, and is ignored",
        why="glibc says nothing about it; newer versions then drop the whole value. `ld.so --list-tunables` lists "
        "what there is.",
        remedy="Correct it, or take it away with `unset GLIBC_TUNABLES`.",
    )


VARIABLES = (
    Variable(
        pattern="MALLOC_PERTURB_",
        reader="glibc",
        scope="memory",
        severity="warning",
        effect="It makes glibc overwrite every block when it is allocated and freed.",
        advice="Unset it, unless you are looking for a fault.",
        source="mallopt(3), M_PERTURB",
        emit="never",
        judge=perturb,
    ),
    Variable(
        pattern="MALLOC_CHECK_",
        reader="glibc",
        scope="memory",
        severity="warning",
        effect="It makes glibc check every block; since 2.34 only with libc_malloc_debug.so preloaded.",
        advice="Unset it, unless you are looking for a fault.",
        source="mallopt(3), M_CHECK_ACTION; glibc 2.34 NEWS",
        emit="never",
        judge=check,
    ),
    Variable(
        pattern="MALLOC_ARENA_MAX",
        reader="glibc",
        scope="memory",
        severity="note",
        effect="It caps the arenas that threads allocate from.",
        advice="Set it for one program that holds too much memory.",
        source="mallopt(3), M_ARENA_MAX",
        emit="per program",
        judge=arenas,
    ),
    Variable(
        pattern=r"MALLOC_(ARENA_TEST|TOP_PAD_|TRIM_THRESHOLD_|MMAP_THRESHOLD_|MMAP_MAX_|TCACHE_\w+)",
        reader="glibc",
        scope="memory",
        severity="note",
        effect="It steers glibc's malloc.",
        advice="Set it for one program.",
        source="mallopt(3)",
        emit="per program",
        judge=instead,
    ),
    *(without_allocator(name) for name in ("jemalloc", "tcmalloc", "mimalloc")),
    Variable(
        pattern="PYTORCH_(CUDA_|HIP_)?ALLOC_CONF|THP_MEM_ALLOC_ENABLE",
        reader="PyTorch's allocators",
        scope="memory",
        severity="note",
        effect="It steers how PyTorch takes memory.",
        advice="Set it for one program.",
        source="PyTorch, CUDA semantics: memory management; c10/core/alignment and CPUAllocator",
        emit="per program",
        harmless=True,
    ),
    Variable(
        pattern="GLIBC_TUNABLES",
        reader="glibc",
        scope="memory",
        severity="note",
        effect="It steers glibc: huge pages for malloc, among others.",
        advice="Set it for one program.",
        source="glibc manual, tunables",
        emit="per program",
        judge=tunables,
    ),
)
