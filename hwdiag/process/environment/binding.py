"""Variables that bind threads to CPUs."""

from __future__ import annotations

import re

from hwdiag.core.text import plural
from hwdiag.host.cpulist import format_cpulist
from hwdiag.process.environment.model import Effect, Inherited, Variable

BINDS = ("true", "close", "spread", "master", "primary")
KMP_OFF = ("none", "disabled", "")


def openmp_binding(it: Inherited) -> Effect | None:
    """Judge OMP_PROC_BIND, OMP_PLACES and GOMP_CPU_AFFINITY.

    libgomp binds the main thread when it is loaded, and all that this thread starts inherits its mask.
    """
    context = it.context
    if len(context.cpus) < 2:
        return None  # one CPU: nothing is taken away
    other = context.environment.get("OMP_PROC_BIND", "").strip().lower()
    if it.name == "OMP_PROC_BIND":
        return bind_word(it, other)
    if other == "false":
        return Effect(
            state="overridden",
            severity="note",
            title=f"{it.shown} is overridden by OMP_PROC_BIND=false: nothing is bound",
            why="OMP_PROC_BIND=false turns all binding off.",
        )
    if it.name == "GOMP_CPU_AFFINITY" and (missing := beyond(it)) is not None:
        return missing
    if it.name == "GOMP_CPU_AFFINITY" and "OMP_PLACES" in context.environment:
        return Effect(
            state="overridden",
            severity="note",
            title=f"{it.shown} is overridden by OMP_PLACES={context.environment['OMP_PLACES'][:60]}",
            why="libgomp takes OMP_PLACES where both are set.",
        )
    return pins(it)


def bind_word(it: Inherited, word: str) -> Effect | None:
    """Judge the value of OMP_PROC_BIND."""
    words = [w.strip() for w in word.split(",")]
    if word == "false":
        return None
    if not all(w in BINDS for w in words):
        return Effect(
            state="ignored",
            severity="warning",
            title=f"{it.shown} is not a valid value: OpenMP ignores it, and nothing is bound by it",
            why="It reads true, false, close, spread and primary.",
        )
    return pins(it)


def beyond(it: Inherited) -> Effect | None:
    """Return what CPUs mean that the process may not use; None where it may use one of them at least."""
    named = named_cpus(it.value)
    if named is None or named & set(it.context.cpus):
        return None
    return Effect(
        state="in effect",
        severity="problem",
        title=f"{it.shown} names none of the CPUs {format_cpulist(it.context.cpus)} that this process may use",
        why="libgomp ends the program with 'Thread creation failed: Invalid argument' at its first parallel operation.",
    )


def named_cpus(value: str) -> set[int] | None:
    """Return the CPUs of a GOMP_CPU_AFFINITY, such as ``0 2-3,8-14:2``; None where it cannot be read."""
    found: set[int] = set()
    for part in re.split(r"[\s,]+", value.strip()):
        match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5})(?::(\d{1,5}))?)?", part)
        if match is None:
            return None
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        found.update(range(first, last + 1, max(step, 1)))
    return found


def pins(it: Inherited) -> Effect | None:
    """Return what binding does to the main thread, and to what it starts."""
    context, seen = it.context, it.context.main_cpus
    if seen is not None and len(seen) >= len(context.cpus):
        return Effect(
            state="ignored",
            severity="note",
            title=f"{it.shown} bound nothing: after `import torch` the main thread may still use "
            f"{plural(len(seen), 'CPU')}",
            why="Its reader refused the value, or is not in this process; libgomp prints a message where it refuses.",
        )
    cpus = plural(len(context.cpus), "CPU")
    where = f"CPU {format_cpulist(seen)}" if seen is not None else "one core"
    known = (
        f"Seen here: after `import torch` the main thread may run on CPU {format_cpulist(seen)} only."
        if seen is not None
        else "Judged by its value: no process was looked into here."
    )
    return Effect(
        state="in effect",
        severity="warning",
        title=f"{it.shown} pins the main thread to {where} of {cpus} when torch is imported: DataLoader workers and "
        "other children inherit that and share it",
        why=f"{known} Each thread of OpenMP gets a core of its own, but a process that the main thread starts keeps "
        "its mask, so all workers decode on the same core.",
        remedy=f"Take it away with `unset {it.name}`; where binding was measured to help, give the workers all CPUs "
        "back in worker_init_fn with os.sched_setaffinity(0, range(os.cpu_count())).",
    )


def kmp(it: Inherited) -> Effect | None:
    """Judge the variables of Intel's and LLVM's OpenMP; their reader is in the process, or may be."""
    value = it.value.strip().lower()
    if it.name == "KMP_AFFINITY":
        kinds = [w for w in value.split(",") if w in ("none", "disabled", "compact", "scatter", "balanced", "explicit")]
        if not kinds or kinds[-1] in KMP_OFF or len(it.context.cpus) < 2:
            return None
        return pins(it)
    if it.name == "KMP_DUPLICATE_LIB_OK" and value in ("true", "1", "yes", "on"):
        return Effect(
            state="in effect",
            severity="warning",
            title=f"{it.shown} silences the error about two OpenMP runtimes in one process",
            why="Two runtimes each start a thread for every core, and results may be wrong: Intel calls it an unsafe "
            "workaround.",
            remedy="Find out which package brings the second runtime (`hwdiag explain` names both files), install all "
            f"from one channel, and take it away with `unset {it.name}`.",
        )
    if it.name in ("KMP_ALL_THREADS", "KMP_DEVICE_THREAD_LIMIT") and value.isdecimal():
        limit, fair = int(value), it.context.fair_threads
        if 0 < limit < fair:
            return Effect(
                state="in effect",
                severity="warning",
                title=f"{it.shown} caps OpenMP at {plural(limit, 'thread')} of {plural(len(it.context.cpus), 'CPU')}",
                why="It is the most threads that one program may have, whatever OMP_NUM_THREADS asks for.",
            )
    return None


VARIABLES = (
    Variable(
        pattern="OMP_PROC_BIND|OMP_PLACES|GOMP_CPU_AFFINITY",
        reader="any OpenMP",
        scope="binding",
        severity="warning",
        effect="It pins the main thread when torch is imported, and all that it starts inherits the mask: "
        "DataLoader workers then share one core.",
        advice="Set it for single-process CPU inference only.",
        source="libgomp manual, OMP_PROC_BIND; measured with torch 2.13",
        emit="per program",
        judge=openmp_binding,
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
        judge=kmp,
    ),
)
