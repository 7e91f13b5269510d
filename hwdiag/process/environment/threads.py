"""Variables that say how many threads compute."""

from __future__ import annotations

import re

from hwdiag.core.text import plural
from hwdiag.process.environment.model import Effect, Inherited, ProcessContext, Variable

OMP_LIST = re.compile(r"\s*\d+\s*(,\s*\d+\s*)*")
MOST = 10**6
"""More threads than that are nobody's wish; libgomp refuses numbers that do not fit a long."""


def whole(value: str) -> int | None:
    """Return a positive whole number; None where the text is none."""
    word = value.strip()
    return int(word) if re.fullmatch(r"[0-9]{1,7}", word) and 0 < int(word) <= MOST else None


def openmp_threads(value: str) -> int | None:
    """Return the threads that an OpenMP runtime reads, of a list those of the outer level; None where it refuses."""
    if OMP_LIST.fullmatch(value) is None:
        return None
    numbers = [whole(word) for word in value.split(",")]
    return None if None in numbers else numbers[0]


def mkl_wins(context: ProcessContext) -> str | None:
    """Return MKL_NUM_THREADS where MKL takes it, and torch with it, in place of OMP_NUM_THREADS.

    Measured with torch 2.13 on x86: 0 and an empty value count as unset, and what is no number as 1.
    """
    value = context.environment.get("MKL_NUM_THREADS", "").strip()
    has = context.has("MKL")
    there = context.arch == "x86_64" if has is None else has
    return value if value not in ("", "0") and there else None


def omp_num_threads(it: Inherited) -> Effect | None:
    """Judge OMP_NUM_THREADS."""
    context, asked = it.context, openmp_threads(it.value)
    if asked is None:
        return invalid_count(it)
    mkl = mkl_wins(context)
    if mkl is not None and whole(mkl) != asked:
        return Effect(
            state="overridden",
            severity="note",
            title=f"{it.shown} is overridden by MKL_NUM_THREADS={mkl} in PyTorch{seen_words(context)}",
            why="Where torch has MKL, MKL's variable decides for both. Other OpenMP programs, and NumPy's OpenBLAS, "
            "still take this one.",
            remedy="Set both to the same value, or neither: `unset OMP_NUM_THREADS MKL_NUM_THREADS`.",
        )
    return count_effect(it, asked)


def invalid_count(it: Inherited) -> Effect:
    """Return the effect of a value that is no list of positive whole numbers."""
    context = it.context
    started = context.threads if context.threads is not None else None
    instead = f"torch starts {plural(started, 'thread')}" if started else "libraries choose by themselves"
    digits = re.match(r"\s*([1-9]\d{0,6})", it.value)
    blas = (
        f" OpenBLAS reads the digits at its beginning and takes {digits[1]}: NumPy and torch then differ."
        if digits and context.has("OpenBLAS") is not False
        else ""
    )
    what = "is empty" if not it.value.strip() else "is not a valid number of threads"
    return Effect(
        state="ignored",
        severity="warning" if it.value.strip() else "note",
        title=f"{it.shown} {what}: OpenMP ignores it, and {instead}",
        why=f"libgomp prints 'Invalid value for environment variable {it.name}' at each start and goes on without "
        f"it: positive whole numbers are all that it reads.{blas}",
        remedy=f"Take it away with `unset {it.name}`, or set it to a whole number: `{it.name}={context.fair_threads}`.",
    )


def count_effect(it: Inherited, asked: int) -> Effect | None:
    """Return the effect of a valid count on these CPUs, for torch and other OpenMP programs."""
    context, cpus = it.context, len(it.context.cpus)
    seen, limit = context.threads, context.thread_limit
    uses = asked if seen is None else seen
    if limit is not None and limit < uses:
        return None  # OMP_THREAD_LIMIT is what decides, and is judged by itself
    if seen is not None and seen != asked:
        if asked <= context.cpus_paid + 0.5 or seen > context.cpus_paid + 0.5:
            return None  # the program, or another variable, decides
        return Effect(
            state="overridden",
            severity="note",
            title=f"{it.shown} asks for more threads than {context.cpus_words}; torch starts {seen} all the same",
            why="MKL bounds the number by the cores that it sees (MKL_DYNAMIC). Programs without MKL start them all.",
            remedy=f"Set it right: `{it.name}={context.fair_threads}`, or take it away with `unset {it.name}`.",
        )
    if uses < context.fair_threads:
        who = "PyTorch" if seen is not None else f"what uses {reader_words(it.name)}, as PyTorch does,"
        known = (
            f"torch.get_num_threads() is {seen} in a process that was started with it."
            if seen is not None
            else "Judged by its value: no process was looked into here."
        )
        set_by = (
            " torchrun sets it to 1 by itself where it starts several processes."
            if "LOCAL_RANK" in context.environment
            else ""
        )
        return Effect(
            state="in effect",
            severity="warning" if 2 * uses <= context.fair_threads else "note",
            title=f"{it.shown} keeps {who} to {uses} of {plural(cpus, 'CPU')}{share_words(context)}",
            why=f"{known} {plural(context.fair_threads, 'thread')} would suit {context.cpus_words}.{set_by}",
            remedy=f"Take it away with `unset {it.name}`, or set it right: `{it.name}={context.fair_threads}`.",
        )
    if uses > context.cpus_paid + 0.5:
        return Effect(
            state="in effect",
            severity="warning",
            title=f"{it.shown} asks for {plural(uses, 'thread')} on {context.cpus_words}{share_words(context)}",
            why="More threads than CPUs take turns, and each parallel operation waits for the one that comes last."
            + (f" torch.get_num_threads() is {seen}." if seen is not None else ""),
            remedy=f"Set it right: `{it.name}={context.fair_threads}`, or take it away with `unset {it.name}`.",
        )
    return None


def reader_words(name: str) -> str:
    return "MKL" if name.startswith("MKL") else "OpenMP"


def share_words(context: ProcessContext) -> str:
    """Return how many processes share the CPUs, as text; empty for one."""
    return f", which {context.processes} processes share" if context.processes > 1 else ""


def seen_words(context: ProcessContext) -> str:
    """Return what was seen of torch's threads, as text; empty where nobody looked."""
    return "" if context.threads is None else f", which starts {plural(context.threads, 'thread')}"


def omp_thread_limit(it: Inherited) -> Effect | None:
    """Judge OMP_THREAD_LIMIT: get_num_threads does not show what it takes away."""
    context, limit = it.context, whole(it.value)
    if limit is None:
        return invalid_count(it)
    if limit >= context.fair_threads:
        return None
    wanted = context.threads or openmp_threads(context.environment.get("OMP_NUM_THREADS", "")) or context.fair_threads
    if limit >= wanted:
        return None
    hidden = f", although torch.get_num_threads() says {wanted}" if context.threads is not None else ""
    return Effect(
        state="in effect",
        severity="warning",
        title=f"{it.shown} caps OpenMP at {plural(limit, 'thread')}: PyTorch computes with {limit} of "
        f"{plural(len(context.cpus), 'CPU')}{hidden}",
        why="It is the most threads that one program may have in OpenMP, whatever OMP_NUM_THREADS or "
        "torch.set_num_threads() ask for."
        + (f" omp_get_thread_limit() is {context.thread_limit} here." if context.thread_limit is not None else ""),
        remedy=f"Take it away with `unset {it.name}`, and set it only for the program that needs it: "
        f"`{it.name}={limit} tesseract ...`; or raise it: `{it.name}={context.fair_threads}`.",
    )


def mkl_num_threads(it: Inherited) -> Effect | None:
    """Judge MKL_NUM_THREADS."""
    context, asked = it.context, whole(it.value)
    if it.value.strip() in ("", "0"):
        return None  # counts as unset
    if asked is None:
        uses = context.threads or 1
        return Effect(
            state="in effect",
            severity="warning",
            title=f"{it.shown} is not a valid number of threads: MKL takes it for 1, and PyTorch computes with {uses} "
            f"of {plural(len(context.cpus), 'CPU')}",
            why="MKL reads positive whole numbers; of anything else it makes one thread, without a message."
            + (f" torch.get_num_threads() is {context.threads}." if context.threads is not None else ""),
            remedy=f"Take it away with `unset {it.name}`, or set it right: `{it.name}={context.fair_threads}`.",
        )
    return count_effect(it, asked)


def openblas_num_threads(it: Inherited) -> Effect | None:
    """Judge OPENBLAS_NUM_THREADS and its older name."""
    context, asked = it.context, whole(it.value)
    if it.name == "GOTO_NUM_THREADS" and context.environment.get("OPENBLAS_NUM_THREADS"):
        return Effect(
            state="overridden",
            severity="note",
            title=f"{it.shown} is overridden by OPENBLAS_NUM_THREADS",
            why="OpenBLAS asks for that one first.",
        )
    if asked is None and it.value.strip() not in ("", "0"):
        return Effect(
            state="ignored",
            severity="note",
            title=f"{it.shown} is not a valid number of threads: OpenBLAS reads it with atoi()",
            why="A value that does not begin with a positive number is ignored; of '4x' it takes 4.",
            remedy=f"Take it away with `unset {it.name}`, or set it to a whole number.",
        )
    return None  # a count below the CPUs is what DataLoader workers want, and torch does not use it


def omp_dynamic(it: Inherited) -> Effect | None:
    """Judge OMP_DYNAMIC: libgomp then starts as many threads as there are CPUs, less the load average."""
    if it.value.strip().lower() not in ("true", "1"):
        return None
    context = it.context
    left = None if context.loadavg is None else max(1, len(context.cpus) - int(context.loadavg + 0.1))
    now = "" if left is None else f": at the load of {context.loadavg:.1f} here, {left} of {len(context.cpus)}"
    return Effect(
        state="in effect",
        severity="warning",
        title=f"{it.shown} lets OpenMP start fewer threads when the machine is loaded{now}",
        why="libgomp takes the number of CPUs minus the load average of the last 15 minutes, so a program is slow "
        "because of what ran before it; torch.get_num_threads() does not show that.",
    )


def numexpr_threads(it: Inherited) -> Effect | None:
    """Judge numexpr's variables: its import ends with ValueError where they are no numbers."""
    if whole(it.value) is not None or not it.value.strip():
        return None
    return Effect(
        state="in effect",
        severity="warning",
        title=f"{it.shown} is not a valid number of threads: `import numexpr` may end with an error",
        why="numexpr turns it into a whole number when it is imported.",
        remedy=f"Take it away with `unset {it.name}`, or set it to a whole number.",
    )


def wait_policy(it: Inherited) -> Effect | None:
    """Judge OMP_WAIT_POLICY."""
    value = it.value.strip().lower()
    if value == "passive":
        return None
    if value != "active":
        return Effect(
            state="ignored",
            severity="note",
            title=f"{it.shown} is not a valid policy: OpenMP ignores it",
            why="It reads 'active' and 'passive'.",
        )
    return Effect(
        state="in effect",
        severity="note",
        title=f"{it.shown} keeps the threads of OpenMP spinning between operations",
        why="Idle threads keep their cores busy: that is quick for one program alone on its cores, and takes time from "
        "DataLoader workers and from other programs.",
    )


VARIABLES = (
    Variable(
        pattern="OMP_NUM_THREADS",
        reader="any OpenMP",
        scope="threads",
        severity="note",
        effect="It sets the threads of every OpenMP library, and so of PyTorch, and of OpenBLAS.",
        advice="Set it for one program, to the number of its cores.",
        source="OpenMP 5.2, OMP_NUM_THREADS; measured with torch 2.13",
        emit="per program",
        judge=omp_num_threads,
    ),
    Variable(
        pattern="OMP_THREAD_LIMIT",
        reader="any OpenMP",
        scope="threads",
        severity="warning",
        effect="It caps the threads of a program in OpenMP, whatever else asks for more.",
        advice="Set it only for the program that needs it.",
        source="OpenMP 5.2, OMP_THREAD_LIMIT; measured with torch 2.13",
        emit="never",
        judge=omp_thread_limit,
    ),
    Variable(
        pattern="MKL_NUM_THREADS",
        reader="MKL",
        scope="threads",
        severity="note",
        effect="Where torch has MKL, it sets the threads of both, and wins over OMP_NUM_THREADS.",
        advice="Set both to the same, or neither.",
        source="oneMKL developer guide, MKL_NUM_THREADS; measured with torch 2.13 on x86",
        emit="per program",
        judge=mkl_num_threads,
    ),
    Variable(
        pattern="MKL_DYNAMIC",
        reader="MKL",
        scope="threads",
        severity="note",
        effect="With FALSE, MKL and torch start as many threads as they are asked for, even more than there are cores.",
        advice="Leave it unset.",
        source="oneMKL developer guide, MKL_DYNAMIC; measured with torch 2.13 on x86",
        emit="never",
        harmless=True,  # what it makes of the count is judged at the count
    ),
    Variable(
        pattern="OPENBLAS_NUM_THREADS|GOTO_NUM_THREADS",
        reader="OpenBLAS",
        scope="threads",
        severity="note",
        effect="It sets the threads of OpenBLAS, and so of NumPy and SciPy; torch's are its own.",
        advice="Worth setting beside DataLoader workers.",
        source="OpenBLAS, runtime variables",
        emit="per program",
        judge=openblas_num_threads,
    ),
    Variable(
        pattern="BLIS_NUM_THREADS",
        reader="BLIS",
        scope="threads",
        severity="note",
        effect="It sets the threads of BLIS, and of nothing else.",
        advice="Set it for one program.",
        source="BLIS, docs/Multithreading.md",
        emit="per program",
    ),
    Variable(
        pattern="NUMEXPR_(NUM|MAX)_THREADS",
        reader="numexpr",
        scope="threads",
        severity="note",
        effect="It sets the threads of numexpr, which pandas' eval uses, and of nothing else.",
        advice="Set it for one program.",
        source="numexpr, utils.py",
        emit="per program",
        judge=numexpr_threads,
    ),
    Variable(
        pattern="OMP_DYNAMIC",
        reader="libgomp",
        scope="threads",
        severity="warning",
        effect="With TRUE, libgomp starts as many threads as there are CPUs, less the load average.",
        advice="Leave it unset.",
        source="libgomp, config/linux/proc.c; measured with torch 2.13",
        emit="never",
        judge=omp_dynamic,
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
        harmless=True,
    ),
    Variable(
        pattern="OMP_WAIT_POLICY",
        reader="any OpenMP",
        scope="threads",
        severity="note",
        effect="Active threads keep their cores busy while idle.",
        advice="Set it for one program, after a measured gain.",
        source="OpenMP 5.2, OMP_WAIT_POLICY",
        emit="per program",
        judge=wait_policy,
    ),
)
