"""Targets of a guide for an old Xeon with an RTX 3060: whether this host reaches them, and why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from hwdiag.agent.nets import TITLES
from hwdiag.core.interval import Interval
from hwdiag.core.text import plural
from hwdiag.devices.model import CPU, DataloaderFed, Device, Study, Target
from hwdiag.devices.nets import NETS, decoding
from hwdiag.experiment.net_count import Count, NetSpec
from hwdiag.process.trace import CAUSES, Cause

RESNET, GPT = NETS["resnet18"].workload("inference"), decoding()
COUNTED = {
    RESNET.name: NetSpec(net="resnet18"),
    GPT.name: NetSpec(net="gpt2", phase="decode", tokens=GPT.size["tokens"]),
}
"""By workload, what its operations are, which say what bounds a target."""


@dataclass(frozen=True)
class Latency:
    """A net's latency that is wanted."""

    name: str
    workload: str
    most_s: float


LATENCIES = (
    Latency(f"{TITLES['resnet18']} per image", RESNET.name, 15e-3),
    Latency(f"{TITLES['gpt2']} per token", GPT.name, 30e-3),
)
DETECTION = "it is not among the reference nets: measure your own with hwdiag tune --file"
BOUND: dict[Cause, str] = {
    "input": "input-bound",
    "allocation": "memory-bound",
    "synchronisation": "transfer-bound",
    "compilation": "launch-bound",
    "launching": "launch-bound",
    "communication": "communication-bound",
    "elsewhere": "launch-bound",
}
"""What a device's idle time makes of a training, by its cause."""


def targets(study: Study, counts: Mapping[str, Count]) -> tuple[Target, ...]:
    """Return every target on every device."""
    found = [latency(study, device, wanted, counts) for wanted in LATENCIES for device in study.devices]
    fed = {f.device: f for f in study.dataloader_fed}
    for wanted in IN_TRAINING:
        on = [d for d in study.devices if wanted.cpu or not d.is_cpu]
        found += [in_training(wanted, device, fed.get(device.name)) for device in on]
        found += [] if on else [undecided(wanted.name, wanted.wanted, "-", "needs a GPU")]
    return (*found, undecided("YOLOv5s per image", "< 25 ms", "-", DETECTION))


def why_waiting(fed: DataloaderFed, wait: Interval) -> str:
    """Return the time that the loader needs for a batch, against the time that the training takes."""
    alone, step = median(run.ways["workers"] for run in fed.runs), median(run.step_s for run in fed.runs)
    gives = f"{plural(fed.workers, 'worker')} alone give a batch of {fed.batch} every {alone * 1e3:.3g} ms"
    rest = f"the training takes {(step - wait.median) * 1e3:.3g} ms for one"
    return f"input-bound: {gives}, and {rest}" if wait.median > WAIT_S else f"{gives}, and {rest}"


def why_idle(fed: DataloaderFed, use: Interval) -> str:
    """Return the cause that the device was idle for longest."""
    if use.median > GPU_USE:
        return "compute-bound: the rest waits for it"
    idle = {cause: median(run.idle.get(cause, 0.0) for run in fed.runs) for cause in CAUSES}
    cause = max(idle, key=idle.__getitem__)
    return f"{BOUND[cause]}: idle for {idle[cause]:.0%} of the time, {CAUSES[cause]}"


def why_busy(fed: DataloaderFed, use: Interval) -> str:
    """Return the cause that keeps the CPUs busy, or leaves them idle."""
    if use.median < CPU_USE[0]:
        return "nothing waits for them: they have time for more workers"
    if fed.device == CPU:
        return "compute-bound: they train as well as decode"
    return "input-bound: they decode all the time" if use.median > CPU_USE[1] else "they decode and start kernels"


def in_ms(i: Interval) -> str:
    return f"{i.median * 1e3:.3g} ms ({i.low * 1e3:.3g} to {i.high * 1e3:.3g})"


def in_percent(i: Interval) -> str:
    return f"{i.median:.0%} ({i.low:.0%} to {i.high:.0%})"


WAIT_S, GPU_USE, CPU_USE = 5e-3, 0.8, (0.6, 0.8)
"""The guide's limits."""


@dataclass(frozen=True)
class WantedFigure:
    """A figure of a training that a DataLoader feeds, and between what it should be."""

    name: str
    wanted: str
    figure: str
    low: float
    high: float
    text: Callable[[Interval], str]
    why: Callable[[DataloaderFed, Interval], str]
    cpu: bool = True
    """Whether it is one of a training on the CPU too."""


IN_TRAINING = (
    WantedFigure("Data loading per batch", "< 5 ms", "wait_s", 0, WAIT_S, in_ms, why_waiting),
    WantedFigure("GPU use in training", "> 80 %", "gpu_use", GPU_USE, 1.01, in_percent, why_idle, cpu=False),
    WantedFigure("CPU use in training", "60 to 80 %", "cpu_use", *CPU_USE, in_percent, why_busy),
)


def in_training(wanted: WantedFigure, device: Device, fed: DataloaderFed | None) -> Target:
    """Return one training target on one device: it passes if the whole interval does, and fails if the whole of it
    does."""
    measured = None if fed is None else fed.interval(wanted.figure)
    if fed is None or measured is None:
        why = "not in this budget" if fed is None else fed.outcome.detail or "the profiler saw nothing on it"
        return undecided(wanted.name, wanted.wanted, device.name, why)
    inside = wanted.low <= measured.low and measured.high <= wanted.high
    outside = measured.high < wanted.low or measured.low > wanted.high
    return Target(
        name=wanted.name,
        wanted=wanted.wanted,
        device=device.name,
        measured=wanted.text(measured),
        passed=inside if inside or outside else None,
        reason=("" if inside or outside else "the interval holds a limit; ") + wanted.why(fed, measured),
    )


def undecided(name: str, wanted: str, device: str, why: str) -> Target:
    return Target(name=name, wanted=wanted, device=device, measured="-", passed=None, reason=why)


def latency(study: Study, device: Device, wanted: Latency, counts: Mapping[str, Count]) -> Target:
    """Return one latency target on one device: it passes if the whole interval does, and fails if the whole of it
    does."""
    measured = study.estimate(wanted.workload, device.name)
    limit = f"< {wanted.most_s * 1e3:g} ms"
    if measured is None:
        failed = study.failures(device.name).get(wanted.workload)
        why = failed.detail if failed else "its turn did not come"
        return undecided(wanted.name, limit, device.name, why)
    passed = True if measured.high < wanted.most_s else False if measured.low >= wanted.most_s else None
    count = counts.get(wanted.workload)
    reason = bound(study, device, count, measured) if count else "not known: its operations could not be counted here"
    return Target(
        name=wanted.name,
        wanted=limit,
        device=device.name,
        measured=in_ms(measured),
        passed=passed,
        reason=reason if passed is not None else f"the interval holds the limit; {reason}",
    )


def bound(study: Study, device: Device, count: Count, measured: Interval) -> str:
    """Return what takes most of the time: arithmetic, memory or starting kernels, each at the speed seen here."""
    compute = [c.value for c in study.ceilings if (c.device, c.kind, c.dtype) == (device.name, "compute", "float32")]
    memory = [c.value for c in study.ceilings if (c.device, c.kind) == (device.name, "memory")]
    start = study.estimate("launch-queued", device.name)
    if not compute or not memory or start is None:
        return "not known: the profile of this device is not whole"
    kernels = count.calls
    takes = {
        "compute-bound": count.flops / max(compute),
        "memory-bound": count.least_bytes / max(memory),
        "launch-bound": kernels * start.median,
    }
    name = max(takes, key=takes.__getitem__)
    share = takes[name] / measured.median
    at_least = f"{kernels} kernels take" if name == "launch-bound" else "its roof takes"
    return f"{name}: {at_least} {takes[name] * 1e3:.2g} ms of it ({share:.0%})"
