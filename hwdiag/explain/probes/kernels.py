"""Probe of what computes: denormal numbers, types without instructions for them, reference kernels, recompilation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hwdiag.core.finding import Check, Finding
from hwdiag.explain.model import Answer, Case
from hwdiag.process.observation.inside_model import InsideReport, RepeatedOperation
from hwdiag.report.format import clean, percent, seconds

LEAST_SMALL = 0.02
"""Share of subnormal values among parameters or activations that is worth a word."""
SLOWER = 1.15
"""Times as slow, from which on a repeated operation shows that something costs time."""
HEAVY = 0.1
"""Share of the recorded time from which on operations of one kind count."""
MUCH = 0.1
"""Share of the time compiling that is worth a word."""
RECOMPILED = 4
"""Compilations of one function, from which on its inputs change too much."""
NATIVE = {
    "bfloat16": ("avx512_bf16", "amx_bf16", "bf16"),
    "float16": ("avx512_fp16", "amx_fp16", "fphp", "asimdhp"),
}
"""Flags of CPUs with instructions for a type."""
NAMES = {"c10::BFloat16": "bfloat16", "c10::Half": "float16"}
WITHOUT = ("AVX2", "AVX", "SSE41", "AVX512_CORE", "AVX512_CORE_VNNI", "AVX2_VNNI")
"""Values of ONEDNN_MAX_CPU_ISA under which oneDNN uses no instructions for 16-bit types."""


def look(case: Case) -> Iterator[Answer]:
    """Yield what is wrong with the kernels of each process that was looked at from inside."""
    reports = [r for r in case.program.inside if r.torch]
    for report in reports:
        yield from denormals(report)
        yield from halves(case, report)
        yield from reference(report)
        yield from recompiled(report)
        yield from one_thread_recorded(report)
    recorded = [r for r in reports if r.traced is not None]
    if not recorded:
        why = case.program.inside_note or next((r.error or r.why for r in reports if r.error or r.why), "not recorded")
        yield Check(id="kernels", state="unchecked", title="Which operations its time goes to", detail=clean(why))


def denormals(report: InsideReport) -> Iterator[Answer]:
    """Yield whether its numbers are subnormal, and what that costs."""
    small = report.subnormal
    shares = {"parameters": small.parameters, "other tensors": small.others} if small else {}
    most = max((s or 0.0 for s in shares.values()), default=0.0)
    if small is None or not small.looked_at or most < LEAST_SMALL:
        return
    where = next(name for name, share in shares.items() if share == most)
    timed = [r for r in report.repeated if r.flushed_s]
    worst = max(timed, key=lambda r: r.seconds / (r.flushed_s or 1), default=None)
    factor = worst.seconds / worst.flushed_s if worst and worst.flushed_s else None
    if worst is None or factor is None:
        cost = "Its cost here was not measured: none of the recorded operations could be timed again."
    else:
        told = (
            f"{operation(worst)} takes {seconds(worst.seconds)} with such values and {seconds(worst.flushed_s or 0)} "
        )
        cost = f"Measured again here, {told}with them at zero: {factor:.2g} times as long."
        if factor < SLOWER:
            cost += " So this CPU is as fast with them as with others; other CPUs are many times slower."
    slow = factor is None or factor >= SLOWER
    yield Finding(
        id=f"denormals:{report.pid}",
        severity="warning" if slow else "note",
        title=f"{percent(most)} of the values of its {where} are denormal numbers (subnormal: nearer to 0 than 1.2e-38)"
        + (f", which makes {operation(worst)} {factor:.2g} times as slow" if slow and worst and factor else ""),
        detail=f"{cost} 'torch.set_flush_denormal(True)' at the start of the program, before other threads begin, "
        "flushes them to zero; values that small carry no information. They come from long training with weight decay, "
        "or from states that decay.",
        evidence=("program.inside",),
    )


def operation(repeated: RepeatedOperation | None) -> str:
    """Return an operation with its sizes."""
    return "" if repeated is None else f"{clean(repeated.name)} ({clean(repeated.dims)})"


def halves(case: Case, report: InsideReport) -> Iterator[Answer]:
    """Yield whether it computes in 16-bit floats on a CPU without instructions for them."""
    traced = report.traced
    if traced is None or traced.gpus:
        return
    for type_name, name in NAMES.items():
        took = sum(o.seconds for o in traced.heavy if type_name in o.types)
        share = min(1.0, took / traced.seconds)
        if share < HEAVY:
            continue
        has = any(flag in case.host.cpu.flags for flag in NATIVE[name])
        variables = environment_of(case, report)
        capped = next((v for v in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA") if variables.get(v)), "")
        cap = str(variables.get(capped, "")).upper()
        hidden = bool(capped) and cap in WITHOUT
        timed = [r for r in report.repeated if r.dtype == type_name and r.float32_s]
        worst = max(timed, key=lambda r: r.seconds / (r.float32_s or 1), default=None)
        factor = worst.seconds / worst.float32_s if worst and worst.float32_s else None
        if (has and not hidden and (factor is None or factor < SLOWER)) or (factor is not None and factor < 1 / SLOWER):
            continue
        measured = (
            f" Measured again here, {operation(worst)} takes {seconds(worst.seconds)} in {name} and "
            f"{seconds(worst.float32_s or 0)} in float32: {factor:.2g} times as long."
            if worst is not None and factor is not None
            else " How much slower than float32 that is was not measured."
        )
        kernels = sorted({k for r in timed for k in r.kernels})
        by = f" It is computed by {', '.join(map(clean, kernels))}." if kernels else ""
        if hidden:
            why = f"{capped}={cap} keeps oneDNN from using the CPU's instructions for it"
            do = (
                f"Unset {capped} ('env -u {capped} COMMAND')"
                + ("" if has else ", though this CPU has no such instructions either")
                + ", or compute in float32: 'model.float()', without autocast."
            )
        elif not has:
            why = "this CPU has no instructions for it, so that each value is converted to float32 and back"
            do = "Compute in float32 on this CPU: 'model.float()' or 'torch_dtype=torch.float32', without autocast."
        else:
            why = "though the CPU has instructions for it, it is slower than float32 with these sizes"
            do = "Compute in float32: 'model.float()', without autocast."
        yield Finding(
            id=f"{name}-without-hardware:{report.pid}",
            severity="warning",
            title=f"{percent(share)} of the recorded time goes to matrix operations in {name}, and {why}",
            detail=f"In {name}, memory is saved, but computing is slow without instructions for it.{measured}{by} {do}",
            evidence=("program.inside", "host.cpu.flags"),
        )


def environment_of(case: Case, report: InsideReport) -> Mapping[str, Any]:
    """Return the variables of a process: as it has them at its end, else as they were at its start."""
    told = report.facts.get("environment")
    started = next((p.environment for p in case.program.processes if p.pid == report.pid), {})
    return {**started, **(told if isinstance(told, dict) else {})}


def reference(report: InsideReport) -> Iterator[Answer]:
    """Yield whether oneDNN computes by its reference implementation, which is there to be right and not fast."""
    slow = [r for r in report.repeated if any("ref" in k.split(":") for k in r.kernels)]
    if slow and not any(r.dtype in NAMES for r in slow):
        yield Finding(
            id=f"reference-kernels:{report.pid}",
            severity="warning",
            title=f"oneDNN computes {operation(slow[0])} by a reference kernel ({clean(slow[0].kernels[0])})",
            detail="Reference kernels are there to be right, and many times slower than others. Take away a limit such "
            "as ONEDNN_MAX_CPU_ISA, or use sizes and types that the fast kernels know (float32, few odd sizes).",
            evidence=("program.inside",),
        )


def recompiled(report: InsideReport) -> Iterator[Answer]:
    """Yield whether torch.compile compiles one function again and again."""
    counts = report.facts.get("compiled_frames")
    most = max((int(c) for c in counts), default=0) if isinstance(counts, list) else 0
    kinds = report.loop.shares if report.loop else report.before
    share = kinds.get("compile", 0.0) / (sum(kinds.values()) or 1.0)
    if most < RECOMPILED:
        return
    names = report.facts.get("recompiled")
    which = f", {clean(next(iter(names)))} first of all" if isinstance(names, dict) and names else ""
    yield Finding(
        id=f"recompiled:{report.pid}",
        severity="warning" if share >= MUCH else "note",
        title=f"torch.compile compiled one function {most} times{which}; {percent(share)} of its time is compiling",
        detail="Something that it was compiled for changes from call to call: sizes of inputs, a Python number, a "
        "module's attribute. 'TORCH_LOGS=recompiles' names it. 'torch.compile(f, dynamic=True)' suits all sizes. "
        "Pad inputs to a few sizes, and keep counters in tensors.",
        evidence=("program.inside",),
    )


def one_thread_recorded(report: InsideReport) -> Iterator[Answer]:
    """Yield that other threads could not be recorded."""
    if report.not_all:
        title = f"What threads of PID {report.pid} do beside the one that imported torch"
        yield Check(id=f"other-threads:{report.pid}", state="unchecked", title=title, detail=clean(report.not_all))
