"""Calibrating a host: single operations on grids of shapes, timed in children, and what follows for any shape.

The grids are fixed here and know nothing of the nets that are estimated. Each operation is timed as it meets the
machine in a net that no cache holds, and, if it is small, in one that the last-level cache holds; ``agent/timing.py``
says how. Reading more and more again and again tells how much of a net's working set the cache still holds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from hwdiag.core.errors import HwdiagError
from hwdiag.estimate.model import WIDTH, Calibration
from hwdiag.process.launch import Launch
from hwdiag.process.model import Disturbance
from hwdiag.process.net_child import ask_each

SAMPLE_S = 0.02
EACH_S = 60.0
"""For one single operation, starting torch included: a busy machine takes its time."""
POOL_TIMES_LLC = 3
"""Weights in turn fill so many times the last-level caches."""
LARGEST_POOL = 2**30
LARGEST_DISPLACED = 2**26
"""Bytes that are read between two timed calls at most: one core's share of the last-level caches is no larger."""
NEAR_DISPLACED, NEAR_POOL, NEAR_LARGEST = 1 / 8, 1 / 4, 1 / 8
"""Of that share, what is read between two calls, what weights in turn fill, and what an operation may read and write,
where all of it is to stay in the last-level cache but not in one core's own (here 1 of 32 MiB). The own caches of many
cores together may hold it, which makes these times too short there."""
REREAD = (1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1, 3 / 2, 2, 4)
"""Of that share, what is read again and again."""
USUAL_LLC = 2**25
"""Where the host does not tell."""
LARGEST = 4e9
"""FLOP of the largest single operation on a few cores with vector units; beyond it rates no longer change."""
FEW_CORES = 4
MATRIX_UNIT = 16
"""So many times as much where a matrix unit computes in this type: it is another machine than the vector units."""
BEYOND = (1 / 2, 1, 2)
"""Of the last-level caches together, what is read again and again beside shares of one core's, where they hold more."""

ROWS = (1, 4, 16, 64, 256, 1024, 4096)
WIDTHS = (64, 256, 1024, 4096)
SIDES = (7, 14, 28, 56, 112)
CHANNELS = (16, 64, 256, 1024)
ELEMENTS = (2**12, 2**15, 2**18, 2**20, 2**22)
MOST_ELEMENTS = 2**24
"""Of a copy and a sum, which tell the memory's bandwidth."""
OPERATIONS = (
    "add", "mul_scalar", "relu", "relu_", "gelu", "tanh", "silu", "exp", "pow", "softmax", "layer_norm", "batch_norm",
    "max_pool", "mean_pool", "mean", "clone", "permuted", "cat", "cast", "embedding", "fill",
)  # fmt: skip
USUAL_ROW = 512
ALONG = {
    "softmax": (64, 1024), "layer_norm": (64, 256, 1024), "batch_norm": (49, 784, 12544), "max_pool": (784, 12544),
    "mean_pool": (784,),
}  # fmt: skip
"""Elements in a row, for operations that work along rows: of batch norm and pooling the pixels of a channel."""
UPCAST = ("add", "mul_scalar", "exp", "pow", "silu", "softmax", "mean", "clone", "permuted", "cat", "cast", "fill")
"""What nets in bfloat16 do in float32 in between."""

OTHERS = 0.25
"""CPUs that others may keep busy, in the mean, before a measurement counts as disturbed."""
STEAL = 0.05


def grid(dtype: str, llc_bytes: int, largest: float = LARGEST) -> Iterator[dict[str, Any]]:
    """Yield all that one calibration times on a host with such caches; ``largest`` is that of its operations, in
    FLOP."""
    share = min(LARGEST_DISPLACED, llc_bytes)
    for point in operations(dtype, largest):
        yield point
        if touched(point, dtype) <= NEAR_LARGEST * share:
            yield {**point, "near": True}
    sizes = [int(part * share) for part in REREAD]
    sizes += [size for part in BEYOND if (size := int(part * llc_bytes)) > sizes[-1]]
    for size in sizes:
        yield {"kind": "reread", "dtype": "float32", "dims": (size,)}


def largest_operation(features: Sequence[str], dtype: str, threads: int) -> float:
    """Return the FLOP of the largest single operation that is worth timing with these units and so many threads."""
    matrix = dtype == "bfloat16" and any(f.startswith(("amx_bf16", "amx-bf16", "sme")) for f in features)
    return LARGEST * max(1.0, threads / FEW_CORES) * (MATRIX_UNIT if matrix else 1)


def touched(point: Mapping[str, Any], dtype: str) -> float:
    """Return the bytes that an operation reads and writes."""
    kind, d = point["kind"], point["dims"]
    if kind == "gemm":
        count = d[0] * d[1] + d[1] * d[2] + d[0] * d[2]
    elif kind == "conv":
        cin, cout, kernel, side, groups, stride = d
        count = cin * (side * stride) ** 2 + cout * side**2 + cin * cout * kernel**2 // groups
    elif kind == "attention":
        count = 2 * d[0] * (d[1] + d[2]) * d[3]
    else:
        count = 3 * d[0]
    return float(count * WIDTH[point.get("dtype", dtype)])


def operations(dtype: str, largest: float = LARGEST) -> Iterator[dict[str, Any]]:
    """Yield the single operations of one calibration."""
    for rows in ROWS:
        for inner in WIDTHS:
            for columns in WIDTHS:
                if 2.0 * rows * inner * columns <= largest:
                    yield {"kind": "gemm", "dims": (rows, inner, columns)}
                    if min(inner, columns) > WIDTHS[0]:
                        yield {"kind": "gemm", "name": "plain", "dims": (rows, inner, columns)}
    yield from convolutions(largest)
    for heads in (8, 32):
        for queries, keys in ((1, 64), (1, 256), (1, 1024), (16, 64), (64, 64), (256, 256), (1024, 1024), (1, 4096)):
            yield {"kind": "attention", "dims": (heads, queries, keys, 64)}
            if queries == keys:
                yield {"kind": "attention", "dims": (heads, queries, keys, 64), "causal": True}
    for name in OPERATIONS:
        for count in (*ELEMENTS, MOST_ELEMENTS) if name in ("add", "clone") else ELEMENTS:
            for width in ALONG.get(name, (USUAL_ROW,)):
                yield {"kind": "elementwise", "name": name, "dims": (count, width)}
                if dtype != "float32" and name in UPCAST:
                    yield {"kind": "elementwise", "name": name, "dims": (count, width), "dtype": "float32"}
    for name in ("view", "bare", "module"):
        yield {"kind": "overhead", "name": name, "dims": (64,)}


def convolutions(largest: float = LARGEST) -> Iterator[dict[str, Any]]:
    """Yield convolutions: 1 x 1 and 3 x 3 with and without stride, first layers, patches, and one channel at a time."""
    shapes = []
    for side in SIDES:
        for cin in CHANNELS:
            shapes += [(cin, cout, 1, side, 1, 1) for cout in CHANNELS]
            shapes += [(cin, cin, 3, side, cin, stride) for stride in (1, 2)]
            shapes += [(cin, cin, 7, side, cin, 1)]
        shapes += [(c, k * c, 3, side, 1, k) for c in (32, 64, 128, 256, 512, 1024) for k in (1, 2)]
    shapes += [(3, filters, 7, side, 1, 2) for filters in (32, 64) for side in (56, 112)]
    shapes += [(3, filters, 3, 112, 1, 2) for filters in (32, 64)]
    shapes += [(3, filters, 16, 14, 1, 16) for filters in (256, 1024)]
    shapes += [(3, filters, 4, 56, 1, 4) for filters in (64, 256)]
    shapes += [(cin, 2 * cin, 2, side, 1, 2) for cin, side in ((64, 28), (256, 14), (1024, 7))]
    for cin, cout, kernel, side, groups, stride in shapes:
        flops = 2.0 * cin * cout // groups * kernel**2 * side**2
        if flops <= largest and cin * (side * stride) ** 2 <= 2**24:
            yield {"kind": "conv", "dims": (cin, cout, kernel, side, groups, stride)}


@dataclass(frozen=True)
class Timed:
    """Times of the whole grid, in the grid's order."""

    seconds: tuple[float | None, ...]
    """None of what gave no answer."""
    why: str
    """What disturbed it; empty if it was left alone."""


def time_grid(
    python: str,
    dtype: str,
    threads: int,
    *,
    llc_bytes: int,
    seed: int,
    between: Callable[[], None] = lambda: None,
    largest: float = LARGEST,
) -> Timed:
    """Time the grid once, in an order drawn anew: half of it in a fresh child, the rest in another.

    ``between`` is called between the halves: what it measures meets the same machine as their mean does, though a
    shared machine becomes slower or faster by a third within minutes.

    Raises:
        HwdiagError: no child could be started.
    """
    points = list(grid(dtype, llc_bytes, largest))
    size = len(points)
    order = random.Random(seed).sample(range(size), size)
    first = time_points(python, dtype, threads, points, order[: size // 2], llc_bytes=llc_bytes)
    between()
    second = time_points(python, dtype, threads, points, order[size // 2 :], llc_bytes=llc_bytes)
    times = first[0] | second[0]
    return Timed(tuple(times.get(n) for n in range(size)), first[1] or second[1])


def time_points(
    python: str, dtype: str, threads: int, points: Sequence[Mapping[str, Any]], order: Sequence[int], *, llc_bytes: int
) -> tuple[dict[int, float], str]:
    """Return the seconds of these points of the grid, timed in a fresh child, and what disturbed it.

    Raises:
        HwdiagError: no child could be started.
    """
    share = min(LARGEST_DISPLACED, llc_bytes)
    far = {"pool_bytes": min(LARGEST_POOL, POOL_TIMES_LLC * llc_bytes), "displaced_bytes": share}
    near = {"pool_bytes": int(NEAR_POOL * share), "displaced_bytes": int(NEAR_DISPLACED * share)}
    common = {"dtype": dtype, "seconds": SAMPLE_S, "name": "", "causal": False}
    wanted = [{**common, **(near if points[i].get("near") else far), **points[i]} for i in order]
    report = ask_each(python, "time_operations", wanted, each_s=EACH_S, launch=Launch(threads=threads))
    if not report.outcome.ok:
        raise HwdiagError(f"calibrating failed: {report.outcome.detail}")
    times = {order[e["index"]]: e["found"]["seconds"] for e in report.events if e["event"] == "done"}
    return times, why_disturbed(report.disturbance)


def combined(
    dtype: str, threads: int, timed: Sequence[Timed], *, llc_bytes: int, largest: float = LARGEST
) -> Calibration:
    """Return a calibration from several processes, or only from those that were not disturbed where there are any.

    A point that no process answered for is left out: its neighbours stand for it.
    """
    quiet = [t for t in timed if not t.why]
    used = quiet or list(timed)
    points = []
    all_points = list(grid(dtype, llc_bytes, largest))
    for point, answers in zip(all_points, zip(*(t.seconds for t in used), strict=True), strict=True):
        seconds = [s for s in answers if s is not None]
        if seconds:
            spread = max(seconds) / min(seconds)
            points.append({"dtype": dtype, **point, "seconds": median(seconds), "spread": spread})
    return Calibration.model_validate(
        {
            "threads": threads,
            "dtype": dtype,
            "points": tuple(points),
            "processes": len(used),
            "llc_bytes": llc_bytes,
            "quiet": bool(quiet),
            "why": "" if quiet else timed[0].why,
        }
    )


def why_disturbed(seen: Disturbance) -> str:
    """Return why a measurement is worthless for what others did, in a clause; empty where it is not."""
    if seen.other_cpu is not None and seen.other_cpu > OTHERS:
        return f"others kept {seen.other_cpu:.1f} CPUs busy"
    if seen.steal is not None and seen.steal > STEAL:
        return f"the hypervisor took {seen.steal:.0%} of the time"
    if seen.throttled_s:
        return f"the control group's quota stopped it for {seen.throttled_s:.1f} s"
    if seen.swapped_bytes:
        return "the machine swapped"
    return ""
