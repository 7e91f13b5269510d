"""Time of a net's operations on a part of the catalogue: one formula, for estimates and for fitting constants.

An operation takes what its arithmetic and its bytes take, whichever is longer, and what starting it costs. Constants
say which share of the data sheet's peak and bandwidth a class of devices reaches with a kind of software, how much of
the activations still goes to memory, and how long a start takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwdiag.catalogue.parts import Part
from hwdiag.core.choices import Software
from hwdiag.core.value import Value
from hwdiag.estimate.model import WIDTH
from hwdiag.estimate.types import NumericType
from hwdiag.experiment.net_count import MATRIX, Count

SHARPNESS = 4.0
"""Of the transition between bound by arithmetic and bound by memory: near the ridge both cost something."""
FUSED_A_MODULE = 8
"""Operations outside of products that a module's call explains at most. What goes beyond is a loop over steps that wait
for one another, such as a scan: no compiler makes one kernel of it, so each pays a start."""
KINDS = ("conv", "gemm", "attention", "depthwise", "other")
OTHER = KINDS.index("other")
EQUAL_SHARES: tuple[Software, ...] = ("eager", "compiled")
"""Software that deals out the same to every core: OpenMP's static schedule."""
CORES = 32
"""Of the CPU whose start of an operation is the constant: a barrier takes longer, the more cores meet in it."""


class Constants(Value):
    """The shares of its ceilings that a class of devices reaches with a kind of software, in a width of numbers."""

    conv: float
    """Share of the peak."""
    gemm: float
    attention: float
    depthwise: float
    """Of convolutions of one channel at a time."""
    memory: float
    """Share of the bandwidth."""
    traffic: float
    """Share of what products and convolutions read and write of activations that goes to memory."""
    traffic_other: float
    """The same of all other operations; the rest is fused or stays in caches."""
    start_s: float
    """Seconds to start a product or convolution; of CPUs, on 32 cores."""
    start_other: float
    """Share of it that another operation costs: 1 where each is started, less where most are fused."""


@dataclass(frozen=True)
class Work:
    """A net's operations as arrays, in the bytes of one numeric type."""

    kind: np.ndarray
    """Index into ``KINDS``."""
    flops: np.ndarray
    weights: np.ndarray
    """Bytes of weights, and of a decoding step's cache."""
    moved: np.ndarray
    """Bytes of activations."""
    times: np.ndarray
    steps: np.ndarray
    """Share of a net's other operations that wait for one another."""


def work_of(count: Count, numeric: NumericType, weight_bits: float | None = None) -> Work:
    """Return a count's operations as arrays; ``weight_bits`` where a format has others than its type."""
    counted = WIDTH[count.spec.dtype]
    weight, activation = (weight_bits or numeric.weight_bits) / 8 / counted, numeric.activation_bytes / counted
    cache = cache_share(count)
    rows = []
    for o in count.operations:
        kind = o.kind.partition("-")[0]
        index = KINDS.index(kind) if o.kind in MATRIX else OTHER
        if kind == "conv" and 1 < o.dims[5] == o.dims[1]:
            index = KINDS.index("depthwise")
        weights, moved = o.weight_bytes * (weight if o.kind in MATRIX else activation), o.read_bytes + o.written_bytes
        if kind == "attention":
            weights, moved = o.read_bytes * cache * activation, moved * (1 - cache)
        rows.append((index, o.flops, weights, moved * activation, o.times))
    table = np.array(rows, float).reshape(-1, 5)
    other = table[:, 0] == OTHER
    calls = float(table[other, 4].sum())
    steps = max(0.0, calls - FUSED_A_MODULE * (count.modules + 1)) / calls if calls else 0.0
    kinds, flops, weights, moved, times = table.T
    return Work(kinds.astype(int), flops, weights, moved, times, np.full(len(table), steps))


def cache_share(count: Count) -> float:
    """Return which share of what attention reads is the cache, each key and value once; 0 outside of decoding.

    Grouped heads share keys and values: PyTorch repeats them, engines read them once.
    """
    read = sum(o.read_bytes * o.times for o in count.operations if o.kind.startswith("attention"))
    return min(1.0, count.kv_bytes / read) if read and count.kv_bytes else 0.0


def seconds(
    work: Work,
    peak: np.ndarray | float,
    bandwidth: np.ndarray | float,
    share: np.ndarray,
    memory: np.ndarray | float,
    traffic: np.ndarray,
    start: np.ndarray,
) -> np.ndarray:
    """Return the seconds of one of each operation; the arrays ``share``, ``traffic`` and ``start`` are by operation."""
    arithmetic = work.flops / (share * peak)
    streaming = (work.weights + traffic * work.moved) / (memory * bandwidth)
    return np.asarray((arithmetic**SHARPNESS + streaming**SHARPNESS) ** (1 / SHARPNESS) + start)


def barrier(part: Part) -> float:
    """Return how many times as long as on 32 cores a start takes."""
    return part.core_count / CORES if part.kind == "cpu" else 1.0


def usual_peak(part: Part, dtype: str, software: Software, *, matrix: bool = True) -> float:
    """Return the operations a second that the constants are shares of."""
    return part.peak(dtype, "sustained", matrix=matrix, equal_shares=software in EQUAL_SHARES) or 0.0


def by_operation(work: Work, c: Constants, slower: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the share of the peak, the share of activations that moves, and the start of each operation."""
    other = work.kind == OTHER
    share = np.array([c.conv, c.gemm, c.attention, c.depthwise, 1.0])[work.kind]
    traffic = np.where(other, c.traffic_other, c.traffic)
    start = slower * c.start_s * np.where(other, np.maximum(c.start_other, work.steps), 1.0)
    return share, traffic, start


def total(work: Work, each: np.ndarray) -> float:
    """Return the seconds of all of them."""
    return float(each @ work.times)


def joined(works: Sequence[Work]) -> Work:
    """Return several nets' operations as one."""
    names = ("kind", "flops", "weights", "moved", "times", "steps")
    return Work(**{name: np.concatenate([getattr(w, name) for w in works]) for name in names})
