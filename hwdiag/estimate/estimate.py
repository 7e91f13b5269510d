"""How long a net takes: on a host that was calibrated, operation by operation; on a part, from its data sheet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hwdiag.catalogue.parts import Part
from hwdiag.core.errors import UsageError
from hwdiag.core.value import Value
from hwdiag.estimate.model import WIDTH, Calibration, NetEstimate, PartEstimate
from hwdiag.estimate.rates import Rates
from hwdiag.experiment.net_count import MATRIX, Count, Operation

OVERHEAD = "starting operations"
FAR = 4.0
"""Where an operation takes so many times what arithmetic and memory explain, its overhead bounds it."""


def estimate_here(count: Count, calibration: Calibration, name: str, rates: Rates | None = None) -> NetEstimate:
    """The time on the host that was calibrated; its ceilings are the best that any single operation reached."""
    rates = rates or Rates(calibration)
    peak, bandwidth = rates.peak, rates.bandwidth
    groups: dict[str, list[Operation]] = defaultdict(list)
    for operation in count.operations:
        groups[operation.kind].append(operation)
    far = rates.from_memory(count.working_set)
    parts = [part_here(kind, operations, rates, far, peak, bandwidth) for kind, operations in groups.items()]
    view, module = rates.starting(far)
    starting = count.modules * module + count.views * view
    parts.append(PartEstimate(kind=OVERHEAD, floor=0, likely=starting, pessimistic=2 * starting, bound="overhead"))
    machine = Machine(name, peak, bandwidth, calibration.llc_bytes)
    return whole(count, machine, count.spec.dtype, parts, calibration.threads)


def part_here(
    kind: str, operations: list[Operation], rates: Rates, far: float, peak: float, bandwidth: float
) -> PartEstimate:
    """One class of operations of a net of whose working set the share ``far`` comes from memory."""
    each = [(o, rates.seconds(o, far) * o.times) for o in operations]
    likely = sum(seconds for _, seconds in each)
    pessimistic = sum(seconds * rates.error(o) ** 2 for o, seconds in each)
    flops, size = sum(o.flops * o.times for o in operations), sum(o.bytes * o.times for o in operations)
    floor = flops / peak
    return PartEstimate(
        kind=kind,
        flops=flops,
        bytes=size,
        floor=floor,
        likely=likely,
        pessimistic=pessimistic,
        bound=bound_of(flops / peak, size / bandwidth, likely),
        utilisation=flops / likely / peak if flops else None,
    )


def bound_of(compute: float, memory: float, likely: float) -> str:
    """What bounds something that takes ``likely`` seconds, given what arithmetic and memory alone would take."""
    if likely > FAR * max(compute, memory):
        return "overhead"
    return "compute" if compute >= memory else "memory"


@dataclass(frozen=True)
class Machine:
    """What a net is estimated for: FLOP/s, bytes/s, and bytes that its caches keep from one run to the next."""

    name: str
    peak: float
    bandwidth: float
    cached: float


def whole(
    count: Count, machine: Machine, dtype: str, parts: Iterable[PartEstimate], threads: int | None = None
) -> NetEstimate:
    """The sum of its parts."""
    kept = tuple(sorted((p for p in parts if p.likely > 0), key=lambda p: -p.likely))
    likely = sum(p.likely for p in kept)
    moved = count.least_bytes * WIDTH[dtype] / WIDTH[count.spec.dtype] - machine.cached
    by_bound: dict[str, float] = defaultdict(float)
    for part in kept:
        by_bound[part.bound] += part.likely
    return NetEstimate.model_validate(
        {
            "spec": count.spec,
            "part": machine.name,
            "dtype": dtype,
            "threads": threads,
            "floor": min(likely, max(count.flops / machine.peak, moved / machine.bandwidth)),
            "likely": likely,
            "pessimistic": max(likely, sum(p.pessimistic for p in kept)),
            "bound": max(by_bound, key=lambda b: by_bound[b]),
            "utilisation": count.flops / likely / machine.peak,
            "parts": kept,
        }
    )


# --- Parts of the catalogue -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Constant:
    """Share of a peak that a class of operations reaches with a tuned library and every core busy."""

    likely: float
    low: float
    source: str


MLPERF = "MLPerf Inference, offline, three generations of Xeon: see hwdiag.estimate.mlperf"
CONSTANTS = {
    "conv": Constant(0.38, 0.20, f"{MLPERF}, ResNet-50"),
    "gemm": Constant(0.34, 0.18, f"{MLPERF}, BERT"),
    "attention": Constant(0.34, 0.10, "as products: no public result measures it alone on a CPU"),
    "memory": Constant(0.80, 0.50, "STREAM results of servers: 75 to 90 % of the channels' bandwidth"),
}
"""One constant a class, of the peak at the sustained clock. What follows a product, fused with it, is part of it."""
OF_MEASURED = {
    "conv": Constant(0.60, 0.30, "nets in float32 on an EPYC of Zen 5, against its best single convolution or product"),
    "gemm": Constant(0.60, 0.30, "the same"),
    "attention": Constant(0.40, 0.15, "the same"),
    "memory": Constant(0.90, 0.60, "decoding there, against its best copy"),
}
"""Shares of ceilings that were measured on the host itself, which lie below a data sheet's."""
START_S = 5e-6
"""One parallel region over some hundred cores: an OpenMP barrier takes 2 to 10 us there (EPCC OpenMP benchmarks)."""
START_GPU_S = 3e-6
"""One kernel's start on a GPU."""


def estimate_part(count: Count, part: Part, dtype: str, *, matrix: bool = True) -> NetEstimate:
    """The time on a part of the catalogue; without its matrix unit where ``matrix`` is False.

    Likely: operations one after another, each bound by arithmetic or by its weights, with what can be fused fused.
    Pessimistic: nothing fused, and the lower end of every constant.

    Raises:
        UsageError: the part has no figures for this type.
    """
    base, best = part.peak(dtype, "sustained", matrix=matrix), part.peak(dtype, "max", matrix=matrix)
    if base is None or best is None:
        raise UsageError(f"{part.name} has no arithmetic in {dtype} in the catalogue")
    constants = OF_MEASURED if part.measured else CONSTANTS
    scale = WIDTH[dtype] / WIDTH[count.spec.dtype]
    start = START_S if part.kind == "cpu" else START_GPU_S
    groups: dict[str, list[PartEstimate]] = defaultdict(list)
    for operation in count.operations:
        kind = operation.kind.partition("-")[0]
        groups[kind].append(one_on_part(operation, constants, base, best, part.bandwidth, scale, start))
    parts = [merged(kind, found, base) for kind, found in groups.items()]
    cached = (part.llc_mib.value if part.llc_mib else 0.0) * 2**20
    estimate = whole(count, Machine(part.name, best, part.bandwidth, cached), dtype, parts)
    size = part.memory.size_gb
    needed = count.weights_bytes * scale + count.kv_bytes * scale
    return estimate if size is None else estimate.model_copy(update={"fits": needed <= size.value * 1e9})


def one_on_part(
    operation: Operation,
    constants: Mapping[str, Constant],
    base: float,
    best: float,
    bandwidth: float,
    scale: float,
    start: float,
) -> PartEstimate:
    """All operations of one shape."""
    kind, memory = operation.kind.partition("-")[0], constants["memory"]
    size = operation.bytes * scale
    if operation.kind in MATRIX:
        constant = constants[kind]
        cold = (operation.weight_bytes + (operation.read_bytes if kind == "attention" else 0.0)) * scale
        arithmetic, streaming = operation.flops / (constant.likely * base), cold / (memory.likely * bandwidth)
        likely = max(arithmetic, streaming) + start
        slow = max(operation.flops / (constant.low * base), size / (memory.low * bandwidth)) + 2 * start
        bound = "overhead" if start > max(arithmetic, streaming) else "compute" if arithmetic > streaming else "memory"
    else:  # fused with the product before it, or it moves its bytes
        likely = operation.weight_bytes * scale / (memory.likely * bandwidth)
        slow = size / (memory.low * bandwidth) + 2 * start
        bound = "memory"
    return PartEstimate.model_validate(
        {
            "kind": kind,
            "flops": operation.flops * operation.times,
            "bytes": size * operation.times,
            "floor": operation.flops / best * operation.times,
            "likely": likely * operation.times,
            "pessimistic": max(likely, slow) * operation.times,
            "bound": bound,
        }
    )


def merged(kind: str, found: Sequence[PartEstimate], peak: float) -> PartEstimate:
    """One class of operations from its shapes."""
    total = {
        name: sum(getattr(p, name) for p in found) for name in ("flops", "bytes", "floor", "likely", "pessimistic")
    }
    by_bound: dict[str, float] = defaultdict(float)
    for p in found:
        by_bound[p.bound] += p.likely
    reached = total["flops"] / total["likely"] / peak if total["flops"] else None
    bound = max(by_bound, key=lambda b: by_bound[b])
    return PartEstimate.model_validate({"kind": kind, **total, "bound": bound, "utilisation": reached})


class Cost(Value):
    """What a million samples (of a decoding step: tokens) cost, and their energy."""

    joules: float
    """Of one sample."""
    energy: float
    """Of a million, in the currency of the prices."""
    hardware: float | None
    """The processor's price over its years of use."""

    @property
    def total(self) -> float | None:
        """Both together; None where no price is known."""
        return None if self.hardware is None else self.hardware + self.energy


YEARS = 4.0
BUSY = 0.5
"""Share of its life that the machine computes."""
KWH = 0.25
"""Price of one kWh, in the currency of the part's price."""
PUE = 1.4
"""Energy of the building for one of the machine (Uptime Institute, mean of data centres: 1.5 to 1.6; new ones 1.2)."""


def cost_of(
    estimate: NetEstimate, part: Part, *, kwh: float = KWH, years: float = YEARS, busy: float = BUSY, pue: float = PUE
) -> Cost | None:
    """Energy and money: measured power where it is known, else the TDP. None where neither is.

    Only the processor's: memory, board, network and people cost the same beside any of them, or more.
    """
    watts = part.power_w or part.tdp_w
    if watts is None:
        return None
    joules = watts.value / estimate.per_second
    energy = joules * 1e6 / 3.6e6 * pue * kwh
    lifetime = years * 365.25 * 86400 * busy * estimate.per_second
    return Cost(
        joules=joules,
        energy=energy,
        hardware=part.price_usd.value / lifetime * 1e6 if part.price_usd else None,
    )
