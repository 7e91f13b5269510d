"""Sections of a profile: what bounds it, where the time went, why the GPU waited, and the memory over time."""

from __future__ import annotations

from hwdiag.core.text import listed
from hwdiag.process.trace import CAUSES, Cause, Traced
from hwdiag.profile.measure import Profiled
from hwdiag.report import svg
from hwdiag.report.figure import Figure
from hwdiag.report.format import clean, percent, seconds, shorten, size
from hwdiag.report.plots._canvas import canvas, look, to_figure
from hwdiag.report.table import Share, Table

INPUT_BOUND = 0.2
"""Share of the time that is input, from which on it is what comes first to mind."""
LEAST_LOOKS = 50
LEAST = 0.01
"""Shares below are not told in the verdict."""


def verdict(done: Profiled) -> str:
    """Return what bounds a program and by what share, in a sentence or two."""
    traced = done.traced
    if traced is None:
        return "Nothing was traced."
    ended = f" It ended with: {done.outcome}." if done.outcome else ""
    if not traced.gpus:
        return (
            f"{bound_without_gpu(done, traced)}: no GPU took part. Of the recorded time, {shares(traced.cpu)}.{ended}"
        )
    told = []
    for gpu in traced.gpus:
        why = f" (idle: {shares(gpu.idle)})" if max(gpu.idle.values(), default=0) >= LEAST else ""
        told.append(f"GPU {gpu.index} had work for {percent(gpu.busy)} of the time{why}")
    return f"{traced.bound}-bound: {listed(told)}.{ended}"


def bound_without_gpu(done: Profiled, traced: Traced) -> str:
    """Return what the rest waits for where no GPU took part: its input from the share on that is worth a change."""
    loop = done.activities[0] if done.activities else None
    if loop is not None and loop.looks >= LEAST_LOOKS:
        told = f" ({percent(loop.input)} of its loop over the whole run)"
        return f"Input-bound{told}" if loop.input >= INPUT_BOUND else "CPU-bound"
    return "Input-bound" if traced.cpu.get("input", 0.0) >= INPUT_BOUND else "CPU-bound"


def shares(causes: dict[Cause, float]) -> str:
    """Return shares as text, the longest first: ``53 % PyTorch's own work, 47 % Python``."""
    found = sorted(((k, v) for k, v in causes.items() if v >= LEAST), key=lambda f: -round(f[1], 3))
    return listed(f"{percent(v)} {CAUSES[k]}" for k, v in found) or "nothing to speak of"


def operations(traced: Traced) -> Table:
    """Return a table of the operations that took longest."""
    on_gpu = any(o.gpu_s for o in traced.operations)
    header = ("operation", "calls", "CPU, without what it calls", *(("GPU",) if on_gpu else ()), "of the time")
    rows = [
        (
            shorten(clean(o.name), 70),
            str(o.calls),
            seconds(o.cpu_s) if o.cpu_s else "0",
            *((seconds(o.gpu_s) if o.gpu_s else "0",) if on_gpu else ()),
            Share((o.cpu_s + o.gpu_s) / traced.seconds),
        )
        for o in traced.operations
    ]
    return Table("Operations that took longest", header, rows, frozenset(range(1, len(header) - 1)))


def idle(traced: Traced) -> Table:
    """Return a table of the time by what it went to: of each GPU, or of the CPU where there is none."""
    rows: list[tuple[str | Share, ...]] = []
    for gpu in traced.gpus:
        name = f"GPU {gpu.index}{f' ({clean(gpu.name)})' if gpu.name else ''}"
        rows.append((name, "kernels at work", Share(gpu.busy - gpu.copying)))
        rows.append((name, "copies alone at work", Share(gpu.copying)))
        rows += [(name, f"idle: {CAUSES[cause]}", Share(share)) for cause, share in gpu.idle.items() if share > 0]
    if not traced.gpus:
        rows += [("CPU", CAUSES[cause], Share(share)) for cause, share in traced.cpu.items() if share > 0]
    return Table("Where the time went", ("device", "what", "share"), rows)


def memory_figure(traced: Traced) -> Figure | None:
    """Return the plot of memory over time, a panel for each device. None where none was told."""
    told = [m for m in traced.memory if len(m.seconds) > 1]
    if not told:
        return None
    with look():
        picture = canvas(944, 170 * len(told) + 40)
        grid = picture.subplots(len(told), 1, sharex=True, squeeze=False)[:, 0]
        for axes, line in zip(grid, told, strict=True):
            scale, unit = (2**-30, "GiB") if line.peak_bytes >= 2**30 else (2**-20, "MiB")
            axes.fill_between(line.seconds, [b * scale for b in line.bytes], step="post", color=svg.BLUE, alpha=0.25)
            axes.step(line.seconds, [b * scale for b in line.bytes], where="post", color=svg.BLUE, linewidth=1.2)
            axes.set_title(f"{line.device}: {kind_of(line.device)}, {unit}; at most {size(line.peak_bytes)}")
            axes.set_ylim(0, None)
            axes.grid(True, axis="y")
        grid[-1].set_xlabel("seconds since PyTorch was imported, or the recording began")
        said = "; ".join(f"{m.device}: at most {size(m.peak_bytes)}" for m in told)
        caption = "Memory allocated by PyTorch does not include its cache; resident memory is of the whole process."
        return to_figure(
            picture, "memory", f"Memory over {seconds(max(m.seconds[-1] for m in told))}. {said}.", caption, ()
        )


def kind_of(device: str) -> str:
    """Return what of a device's memory is told."""
    return "resident" if device == "process" else "allocated by PyTorch"


def summary(done: Profiled) -> list[str]:
    """Return lines about the run itself."""
    traced = done.traced
    if traced is None:
        return list(done.notes)
    steps = f", {done.steps} calls of what build() gives" if done.steps else ""
    lines = [f"recorded: {seconds(traced.seconds)}, {traced.events} events{steps}, PyTorch {clean(done.torch)}"]
    lines += [f"memory:   {m.device} at most {size(m.peak_bytes)}" for m in traced.memory]
    lines += [f"note:     {clean(note)}" for note in done.notes]
    return lines
