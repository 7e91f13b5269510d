"""From single operations that were timed to any other of their class: interpolation in the logarithms of shapes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
from scipy.interpolate import RBFInterpolator

from hwdiag.estimate.calibrate import USUAL_ROW
from hwdiag.estimate.model import WIDTH, Calibration, Point
from hwdiag.experiment.net_count import Operation

NEIGHBOURS = 12

KNOWN = {
    "gelu": "gelu", "erf": "gelu", "tanh": "tanh", "silu": "silu", "sigmoid": "silu", "exp": "exp", "pow": "pow",
    "relu": "relu", "relu_": "relu_", "hardtanh": "relu", "hardtanh_": "relu_", "native_layer_norm": "layer_norm",
    "native_group_norm": "layer_norm", "rms_norm": "layer_norm", "_fused_rms_norm": "layer_norm", "cat": "cat",
    "stack": "cat", "_to_copy": "cast", "zeros": "fill", "max_pool2d_with_indices": "max_pool",
}  # fmt: skip
BY_KIND = {
    "norm": "batch_norm", "softmax": "softmax", "reduce": "mean", "pool": "mean_pool", "copy": "clone",
    "gather": "embedding", "create": "fill", "slow": "exp", "pointwise": "mul_scalar",
}  # fmt: skip
ACCESSES = {
    "add": 3, "relu_": 2, "mean": 1, "mean_pool": 1.25, "fill": 1, "max_pool": 1.25,
    "cast": 1.5, "embedding": 2,
}  # fmt: skip
"""Elements read and written for each element of a timed operation; 2 where nothing else is said."""
ALONG_ROWS = ("softmax", "layer_norm", "batch_norm", "max_pool", "mean_pool")
"""Operations whose rate depends on the length of a row too."""


def calibrated_name(operation: Operation) -> str:
    """Return the timed operation that stands for this one."""
    if operation.name in KNOWN:
        return KNOWN[operation.name]
    if operation.kind == "copy" and operation.strided:
        return "permuted"
    if operation.kind == "pointwise" and operation.read_bytes + operation.weight_bytes > 1.5 * operation.written_bytes:
        return "add"
    return BY_KIND[operation.kind]


def log2(*values: float) -> tuple[float, ...]:
    return tuple(math.log2(max(v, 1)) for v in values)


class RateTable:
    """Rates of one class of operations over logarithms of their shapes."""

    def __init__(self, features: Sequence[tuple[float, ...]], work: Sequence[float], seconds: Sequence[float]) -> None:
        """``work`` and ``seconds`` of operations at ``features``."""
        self.features = np.asarray(features, float)
        self.log_rates = np.log(np.asarray(work, float) / np.asarray(seconds, float))
        self.low, self.high = self.features.min(0), self.features.max(0)
        self.least = float(min(seconds))
        self.interpolate = self._fit(self.features, self.log_rates)

    def _fit(self, features: np.ndarray, values: np.ndarray) -> RBFInterpolator:
        varied = features.max(0) > features.min(0)
        self.varied = varied if varied.any() else np.ones_like(varied)
        return RBFInterpolator(
            features[:, self.varied], values, kernel="linear", degree=0, neighbors=min(NEIGHBOURS, len(values))
        )

    def seconds(self, features: tuple[float, ...], work: float) -> float:
        """Time of an operation; beyond the grid the rate stays as it is at its edge, and nothing is free."""
        inside = np.clip(np.asarray(features, float), self.low, self.high)
        log_rate = float(self.interpolate(inside[None, self.varied])[0])
        return max(self.least, work / math.exp(log_rate))

    @cached_property
    def error(self) -> float:
        """Return the typical deviation between a point and what its neighbours say of it, as a factor: 1.1 is 10 %."""
        residuals = []
        for i in range(len(self.log_rates)):
            rest = np.arange(len(self.log_rates)) != i
            if rest.sum() < 2:
                return 1.5
            other = self._fit(self.features[rest], self.log_rates[rest])
            residuals.append(float(other(self.features[i : i + 1, self.varied])[0]) - float(self.log_rates[i]))
        self._fit(self.features, self.log_rates)
        return math.exp(float(np.median(np.abs(residuals))))


Tables = Mapping[tuple[str, str], RateTable]
"""By class and type."""


class Rates:
    """The rates of any operation, from a calibration."""

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        self.far = tables([p for p in calibration.points if not p.near])
        near = {what(p): p for p in calibration.points if p.near}
        # Operations too large for the cache take as long as ever.
        self.near = tables([near.get(what(p), p) for p in calibration.points if not p.near])

    @cached_property
    def peak(self) -> float:
        """Return the highest FLOP/s that any product or convolution reached."""
        points = (p for p in self.calibration.points if p.kind in ("gemm", "conv"))
        return max(described_point(p)[1] / p.seconds for p in points)

    @cached_property
    def bandwidth(self) -> float:
        """Return the bytes/s from memory, read plus written: the most of a product with a vector, whose weights are
        never cached, and of operations on more than the caches hold."""
        found = [
            p.dims[1] * p.dims[2] * WIDTH[p.dtype] / p.seconds
            for p in self.calibration.points
            if p.kind == "gemm" and not p.near and p.dims[0] == 1 and p.dims[1] * p.dims[2] * WIDTH[p.dtype] > 2**20
        ]
        for p in self.calibration.points:
            if p.kind == "elementwise":
                _, size = described_point(p)
                found += [size / p.seconds] if size > 2 * self.calibration.llc_bytes else []
        return max(found)

    def from_memory(self, working_set: float) -> float:
        """Return the share of a net's working set (bytes) that no cache keeps from one run to the next, 0..1.

        By the time that reading as much again takes, between that of what the last-level cache holds for sure and that
        of what is far larger.
        """
        points = sorted((p.dims[0], p.seconds / p.dims[0]) for p in self.calibration.points if p.kind == "reread")
        if not points:
            return 1.0
        sizes, slowness = np.array(points).T
        slowness = np.maximum.accumulate(slowness)
        if slowness[-1] <= slowness[0]:
            return 1.0
        shares = (slowness - slowness[0]) / (slowness[-1] - slowness[0])
        return float(np.interp(math.log(max(working_set, 1)), np.log(sizes), shares))

    def seconds(self, operation: Operation, from_memory: float = 1.0) -> float:
        """Time of one such operation in a net of whose working set this share is read from memory."""
        name, features, work = described(operation)
        far = self.find(self.far, name, operation.dtype).seconds(features, work)
        near = self.find(self.near, name, operation.dtype).seconds(features, work)
        return from_memory * far + (1 - from_memory) * min(near, far)

    def starting(self, from_memory: float = 1.0) -> tuple[float, float]:
        """Return the seconds that a view costs, and the seconds that a module adds to what it does."""
        each: dict[str, float] = defaultdict(float)
        for p in self.calibration.points:
            if p.kind == "overhead":
                each[p.name] += p.seconds * (1 - from_memory if p.near else from_memory)
        return each["view"], max(0.0, each["module"] - each["bare"])

    def error(self, operation: Operation) -> float:
        """Return the factor by which an operation of this class may well be off."""
        return self.find(self.far, described(operation)[0], operation.dtype).error

    def find(self, among: Tables, name: str, dtype: str) -> RateTable:
        """Return the table of this class and type; of another type where only that was timed."""
        for key in ((name, dtype), (name, self.calibration.dtype), (name, "float32")):
            if key in among:
                return among[key]
        raise KeyError(f"{name} was not timed in {dtype}")


def what(point: Point) -> tuple[object, ...]:
    """Return the operation that a point timed, wherever its operands were."""
    return table_of(point), point.name, point.dtype, point.dims


def table_of(point: Point) -> str:
    """Return the name of the table that a point belongs to."""
    if point.kind == "elementwise":
        return point.name
    if point.kind == "attention":
        return "attention-causal" if point.causal else "attention"
    if point.kind == "conv" and 1 < point.dims[4] == point.dims[0]:
        return "depthwise"
    return point.kind


def tables(points: Iterable[Point]) -> Tables:
    """Return a table of each class and type."""
    groups: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for point in points:
        if point.kind not in ("overhead", "reread"):
            groups[table_of(point), point.dtype].append(point)
    return {key: table(several) for key, several in groups.items()}


def table(points: Sequence[Point]) -> RateTable:
    """Return the table of one class."""
    rows = [described_point(p) for p in points]
    return RateTable([r[0] for r in rows], [r[1] for r in rows], [p.seconds for p in points])


def described_point(point: Point) -> tuple[tuple[float, ...], float]:
    """Return the features and the work of a timed operation."""
    d = point.dims
    if point.kind == "gemm":
        return gemm_features(*d, plain=point.name == "plain"), 2.0 * d[0] * d[1] * d[2]
    if point.kind == "conv":
        cin, cout, kernel, side, groups, stride = d
        return conv_features(1, cin, cout, kernel**2, side**2, groups, stride)
    if point.kind == "attention":
        heads, queries, keys, width = d
        return log2(heads, queries, keys), 4.0 * heads * queries * keys * width
    size = d[0] * WIDTH[point.dtype] * ACCESSES.get(point.name, 2)
    if point.name == "max_pool":  # where each largest one was, as 64-bit integers
        size += 8 * d[0] / 4
    return log2(*((size, d[1]) if point.name in ALONG_ROWS else (size,))), size


def gemm_features(rows: int, inner: int, columns: int, *, plain: bool) -> tuple[float, ...]:
    """Return the features of a product. Of few rows it matters which way round the weights lie."""
    return (*log2(rows, inner, columns), 4.0 * plain)


def conv_features(
    images: int, cin: int, cout: int, kernel: int, pixels: int, groups: int, stride: int
) -> tuple[tuple[float, ...], float]:
    """Return the features and FLOP of a convolution. One of groups as wide as its channels is described by its
    channels."""
    flops = 2.0 * images * cin * cout * kernel * pixels / groups
    if groups == cin and groups > 1:
        return log2(cout, kernel, images * pixels, stride), flops
    # The kernel and the stride say which algorithm is taken, so they weigh more than sizes do.
    shape = log2(cin // groups, cout, images * pixels)
    return (*shape, *(2 * x for x in log2(kernel, stride))), flops


def described(operation: Operation) -> tuple[str, tuple[float, ...], float]:
    """Return the table, features and work of a counted operation."""
    d = operation.dims
    if operation.kind == "gemm":
        batches, rows, inner, columns = d
        plain = bool(operation.weight_bytes) and not operation.strided
        return "gemm", gemm_features(batches * rows, inner, columns, plain=plain), operation.flops
    if operation.kind == "conv":
        features, flops = conv_features(*d)
        return "depthwise" if d[5] == d[1] and d[5] > 1 else "conv", features, flops
    if operation.kind in ("attention", "attention-causal"):
        heads, queries, keys, _, _ = d
        causal = operation.kind == "attention-causal" and queries > 1
        return "attention-causal" if causal else "attention", log2(heads, queries, keys), operation.flops
    name, size = calibrated_name(operation), operation.bytes
    row = d[1] if d else USUAL_ROW
    return name, log2(*((size, row) if name in ALONG_ROWS else (size,))), size
