"""Analysis of a trace of torch.profiler: where the time went, what the GPU waited for, and how much memory there was.

The format is Chrome's ("Trace Event Format", Google): complete events (``ph`` X) with ``ts`` and ``dur`` in
microseconds. Their categories are PyTorch's (libkineto/src/output_json.cpp): ``cpu_op``, ``user_annotation``,
``cuda_runtime`` and ``cuda_driver`` on the CPU, ``kernel``, ``gpu_memcpy`` and ``gpu_memset`` on a GPU, and instants
called ``[memory]``. What a kernel belongs to is told by the ``External id`` that it shares with an operation.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from hwdiag.core.errors import UsageError
from hwdiag.core.outside import OutsideError, parse_json, read_file
from hwdiag.core.value import Value
from hwdiag.process.heavy_operations import HeavyOperation, heavy_operations
from hwdiag.process.trace_events import Span, argument, overlap, sound_events, span, thread, total, union, without

MAX_BYTES = 2 << 30
"""A larger trace is not read: it would take some ten times of this in memory."""
MOST_OPERATIONS = 20
MEMORY_POINTS = 400
MOST_GPUS = 64
GPU_BOUND = 0.8
"""Share of the time with work on the GPU from which on it is what the rest waits for."""
EARLIER_S = 0.2
"""A net is at work so much earlier than it is seen, at most."""
ON_GPU = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
CALLS = frozenset({"cuda_runtime", "cuda_driver", "privateuse1_runtime", "xpu_runtime"})
INPUT = ("enumerate(DataLoader)", "DataLoader")

COLLECTIVES = ("gloo:", "nccl:", "mpi:", "ucc:", "xccl:", "c10d::", "_c10d_functional::", "record_param_comms")
COMPILES = "(dynamo_timed)"
"""End of the names of torch.compile's own steps."""
AT_WORK_TOO = 0.1
"""Share of the busiest thread's time in PyTorch, from which on another one is at work too."""
COMMUNICATES = re.compile(r"nccl|rccl|oneccl", re.IGNORECASE)
"""Names of collectives' kernels on a GPU."""

Cause = Literal["input", "allocation", "synchronisation", "compilation", "launching", "communication", "elsewhere"]
CAUSES: dict[Cause, str] = {
    "input": "waiting for the DataLoader",
    "allocation": "getting memory from the driver",
    "synchronisation": "copying to or from the CPU, or waiting for that",
    "compilation": "compiling (torch.compile)",
    "launching": "PyTorch's own work on the CPU: operations and launches",
    "communication": "waiting in collectives (allreduce and the like)",
    "elsewhere": "outside of PyTorch: Python and all else",
}
"""What the CPU did while a GPU had nothing to do, in the order in which a moment is given to one of them."""


class OperationTime(Value):
    """All calls of one operation."""

    name: str
    calls: int
    cpu_s: float
    """Without what it called in turn."""
    gpu_s: float
    """Of the kernels that it launched itself."""


class GpuTime(Value):
    """The time of one GPU over the trace, in shares of it."""

    index: int
    name: str
    busy: float
    """With at least one kernel or copy at work."""
    communicating: float = 0.0
    """Of that, with nothing but collectives' kernels."""
    copying: float
    """Of that, with nothing but copies."""
    idle: dict[Cause, float]
    """Without any, by what the CPU did meanwhile."""


class AllocatedMemory(Value):
    """Memory that PyTorch had allocated on one device."""

    device: str
    peak_bytes: int
    seconds: tuple[float, ...]
    bytes: tuple[int, ...]
    """At these seconds: of many points the highest of each stretch."""


class Traced(Value):
    """The result of one trace."""

    seconds: float
    events: int
    operations: tuple[OperationTime, ...]
    """Those that took longest, on the CPU and the GPU together."""
    cpu: dict[Cause, float]
    """How the threads that feed the devices spent the time: shares."""
    gpus: tuple[GpuTime, ...]
    memory: tuple[AllocatedMemory, ...]
    heavy: tuple[HeavyOperation, ...] = ()
    """Matrix products and convolutions on the CPU that took longest."""
    threads: dict[str, float] = {}
    """Share of the time in operations of PyTorch, by thread id; the busiest first."""

    @property
    def bound(self) -> Literal["CPU", "GPU"]:
        """Return the device that the rest waits for."""
        return "GPU" if any(g.busy >= GPU_BOUND for g in self.gpus) else "CPU"


def read_trace(path: Path, most_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Return the trace's JSON.

    Raises:
        UsageError: there is none, it was cut off, or it is too large.
    """
    try:
        if path.stat().st_size > most_bytes:
            raise UsageError(f"{path} is larger than {most_bytes >> 20} MiB: record less (--seconds, --events)")
        trace = parse_json(read_file(path, most_bytes), infinite=True)
    except OSError as error:
        raise UsageError(f"no trace at {path}: {error.strerror}") from None
    except OutsideError as error:
        raise UsageError(f"{path} is no whole trace: {error}; was its writing cut off, as by a full disk?") from None
    if not isinstance(trace, dict) or not isinstance(trace.get("traceEvents"), list):
        raise UsageError(f"{path} is no trace of torch.profiler: it has no traceEvents")
    devices = trace.get("deviceProperties")
    known = [d for d in devices if isinstance(d, dict)] if isinstance(devices, list) else []
    return {**trace, "traceEvents": sound_events(trace["traceEvents"]), "deviceProperties": known}


def cut_trace(trace: dict[str, Any], most: int) -> tuple[dict[str, Any], str]:
    """Return the trace's beginning with at most so many events, and in words what was cut; nothing where it has no
    more."""
    timed = sorted((e for e in trace["traceEvents"] if "ts" in e), key=lambda e: e["ts"])
    if len(timed) <= most:
        return trace, ""
    begin, end, last = timed[0]["ts"], timed[most]["ts"], timed[-1]["ts"]
    # The profiler's own mark of the whole time would make all that was cut look idle.
    kept = [e for e in timed[:most] if e.get("cat") != "Trace" and e["ts"] + e.get("dur", 0) <= end]
    told = f"its first {len(kept)} of {len(timed)} events, {(end - begin) / 1e6:.2g} of {(last - begin) / 1e6:.2g} s"
    return {**trace, "traceEvents": [*(e for e in trace["traceEvents"] if "ts" not in e), *kept]}, told


def analyse(trace: dict[str, Any], from_first: bool = False, after_s: float = 0.0) -> Traced:
    """Return the result of a trace.

    Args:
        trace: its JSON.
        from_first: whether the time counts from the first operation on.
        after_s: seconds from its beginning after which that first operation comes, if any does; what made the net and
            read data was before.

    Raises:
        UsageError: nothing of PyTorch was recorded in it.
    """
    events = trace["traceEvents"]
    spans = [e for e in events if e.get("ph") == "X" and "dur" in e and "ts" in e]
    work = [e for e in spans if e.get("cat") in ON_GPU | CALLS | {"cpu_op", "user_annotation"}]
    if not work:
        raise UsageError("the trace has no operation of PyTorch in it")
    window = whole(spans, work)
    if from_first:
        after = window[0] + 1e6 * max(0.0, after_s - EARLIER_S)
        late = [e for e in work if e["ts"] >= after]
        work = late or work
        window = (max(window[0], min(e["ts"] for e in work)), window[1])
    length = max(window[1] - window[0], 1e-3)
    times = thread_times(work)
    working = threads_at_work(work, times)
    mine = [e for e in work if (thread(e) in working or is_collective(e)) and e["cat"] not in ON_GPU]
    busiest = sorted(times, key=times.__getitem__, reverse=True)[:8]
    return Traced(
        seconds=length / 1e6,
        events=len(events),
        operations=operations(work),
        cpu={cause: total(found) / length for cause, found in doing(mine, [window]).items()},
        gpus=tuple(gpus(trace, work, mine, window)),
        memory=tuple(memory(events, window[0])),
        heavy=heavy_operations(work),
        threads={str(t[1]): min(1.0, times[t] / length) for t in busiest},
    )


def whole(spans: Sequence[dict[str, Any]], work: Sequence[dict[str, Any]]) -> Span:
    """Return the time that was recorded: the profiler's own mark of it, else from the first to the last event."""
    marked = next((e for e in spans if e.get("cat") == "Trace" and e["dur"] > 0), None)
    found = [marked] if marked else work
    return min(e["ts"] for e in found), max(e["ts"] + e["dur"] for e in found)


def thread_times(work: Sequence[dict[str, Any]]) -> dict[tuple[Any, Any], float]:
    """Return the time of each thread in operations, µs; what waits in a collective or a DataLoader is none."""
    times: dict[tuple[Any, Any], float] = defaultdict(float)
    for event, own in self_times(e for e in work if e["cat"] not in ON_GPU):
        if event["cat"] != "user_annotation" and not is_collective(event):
            times[thread(event)] += own
    return times


def threads_at_work(work: Sequence[dict[str, Any]], times: dict[tuple[Any, Any], float]) -> set[tuple[Any, Any]]:
    """Return the threads that are in PyTorch most, those that run its backward passes, and those that iterate data."""
    most = max(times.values(), default=0.0)
    busy = {t for t, time in times.items() if time >= AT_WORK_TOO * most}
    backward = {thread(e) for e in work if e["cat"] == "cpu_op" and str(e["name"]).startswith("autograd::")}
    fed = {thread(e) for e in work if cause_of(e) == "input"}
    return busy | backward | fed


def is_collective(event: dict[str, Any]) -> bool:
    """Return whether an event is a collective's."""
    return event["cat"] not in ON_GPU and str(event["name"]).startswith(COLLECTIVES)


def self_times(events: Iterable[dict[str, Any]]) -> list[tuple[dict[str, Any], float]]:
    """Return each event with its time less that of the events within it, in the same thread."""
    threads: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        threads[thread(event)].append(event)
    found = []
    for several in threads.values():
        stack: list[list[Any]] = []  # event, its end, its own time
        for event in sorted(several, key=lambda e: (e["ts"], -e["dur"])):
            while stack and stack[-1][1] <= event["ts"]:
                done, _, own = stack.pop()
                found.append((done, own))
            if stack:
                stack[-1][2] -= min(event["dur"], stack[-1][1] - event["ts"])
            stack.append([event, event["ts"] + event["dur"], event["dur"]])
        found += [(event, own) for event, _, own in stack]
    return found


def operations(work: Sequence[dict[str, Any]]) -> tuple[OperationTime, ...]:
    """Return the operations that took longest. A kernel counts for the operation that launched it."""
    names = {argument(e, "External id"): str(e["name"]) for e in work if e["cat"] == "cpu_op"}
    launched = {argument(e, "correlation"): argument(e, "External id") for e in work if e["cat"] in CALLS}
    names.pop(None, None)
    launched.pop(None, None)
    calls: Counter[str] = Counter()
    cpu: dict[str, float] = defaultdict(float)
    gpu: dict[str, float] = defaultdict(float)
    for event, own in self_times(e for e in work if e["cat"] == "cpu_op"):
        calls[event["name"]] += 1
        cpu[event["name"]] += max(own, 0)
    for event in work:
        if event["cat"] in ON_GPU:
            operation = argument(event, "External id") or launched.get(argument(event, "correlation"))
            gpu[names.get(operation, str(event["name"]))] += event["dur"]
    longest = sorted({*cpu, *gpu}, key=lambda n: cpu[n] + gpu[n], reverse=True)[:MOST_OPERATIONS]
    return tuple(OperationTime(name=n, calls=calls[n], cpu_s=cpu[n] / 1e6, gpu_s=gpu[n] / 1e6) for n in longest)


def doing(mine: Sequence[dict[str, Any]], within: list[Span]) -> dict[Cause, list[Span]]:
    """Return what this thread did in these stretches: each moment is one cause's, the first that claims it."""
    claims: dict[Cause, list[Span]] = {cause: [] for cause in CAUSES}
    for event in mine:
        cause = cause_of(event)
        if cause is not None:
            claims[cause].append((event["ts"], event["ts"] + event["dur"]))
    found: dict[Cause, list[Span]] = {}
    left = within
    for cause in CAUSES:
        mine_now = left if cause == "elsewhere" else overlap(left, union(claims[cause]))
        found[cause] = mine_now
        left = without(left, mine_now)
    return found


def cause_of(event: dict[str, Any]) -> Cause | None:
    """Return the cause of an event on the CPU, or None for an annotation that only names a stretch."""
    name, kind = str(event["name"]), event["cat"]
    if name.startswith(COLLECTIVES):
        return "communication"
    if name.endswith(COMPILES):
        return "compilation"
    if kind == "user_annotation":
        return "input" if name.startswith(INPUT) else None
    if kind in CALLS:
        if "Malloc" in name or "Free" in name or "HostAlloc" in name:
            return "allocation"
        if "Synchronize" in name or "Memcpy" in name:
            return "synchronisation"
    return "launching"


def gpus(
    trace: dict[str, Any], work: Sequence[dict[str, Any]], mine: Sequence[dict[str, Any]], window: Span
) -> Iterable[GpuTime]:
    """Yield the time of each GPU that took part."""
    known = trace.get("deviceProperties") or ()
    names = {d["id"]: str(d.get("name", ""))[:100] for d in known if isinstance(d.get("id"), int)}
    length = window[1] - window[0]
    devices: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in work:
        if event["cat"] in ON_GPU:
            index = argument(event, "device")
            devices[index if isinstance(index, int) else 0].append(event)
    for index, events in sorted(devices.items())[:MOST_GPUS]:
        busy = overlap([window], union(span(e) for e in events))
        kernels = overlap([window], union(span(e) for e in events if e["cat"] == "kernel"))
        idle = doing(mine, without([window], busy))
        computing = overlap([window], union(span(e) for e in events if not COMMUNICATES.search(str(e["name"]))))
        yield GpuTime(
            index=index,
            name=names.get(index, ""),
            busy=total(busy) / length,
            copying=total(without(busy, kernels)) / length,
            communicating=total(without(busy, computing)) / length,
            idle={cause: total(found) / length for cause, found in idle.items()},
        )


def memory(events: Iterable[dict[str, Any]], start: float) -> Iterable[AllocatedMemory]:
    """Yield the memory that PyTorch had allocated over time, on each device."""
    points: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for event in events:
        args = event.get("args")
        if event.get("name") != "[memory]" or "ts" not in event or not isinstance(args, dict):
            continue
        if isinstance(args.get("Total Allocated"), int):
            kind, index = args.get("Device Type"), str(args.get("Device Id"))[:20]
            points["CPU" if kind == 0 else f"GPU {index}"].append((event["ts"], args["Total Allocated"]))
    for device, found in sorted(points.items()):
        found.sort()
        step = -(-len(found) // MEMORY_POINTS)
        highest = [max(found[i : i + step], key=lambda p: p[1]) for i in range(0, len(found), step)]
        yield AllocatedMemory(
            device=device,
            peak_bytes=max(size for _, size in found),
            seconds=tuple(round((at - start) / 1e6, 6) for at, _ in highest),
            bytes=tuple(size for _, size in highest),
        )
