"""Time of a net: on a calibrated host, operation by operation; on a part, from its data sheet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwdiag.catalogue.parts import DeviceClass, Part
from hwdiag.core.choices import EstimateType, Software
from hwdiag.core.errors import UsageError
from hwdiag.core.value import Value
from hwdiag.estimate.constants import constants_of, evidence_of, work_kind
from hwdiag.estimate.model import WIDTH, Calibration, NetEstimate, PartEstimate
from hwdiag.estimate.types import TYPES
from hwdiag.estimate.work import Constants, barrier, by_operation, seconds, usual_peak, work_of
from hwdiag.experiment.net_count import Count, Operation

if TYPE_CHECKING:  # scipy takes half a second to import, and only a calibrated host needs it
    from hwdiag.estimate.rates import Rates

OVERHEAD = "starting operations"
FAR = 4.0
"""Where an operation takes so many times what arithmetic and memory explain, its overhead bounds it."""


def estimate_here(count: Count, calibration: Calibration, name: str, rates: Rates | None = None) -> NetEstimate:
    """Return the time on the host that was calibrated. Its ceilings are the best that any single operation reached."""
    from hwdiag.estimate.rates import Rates

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
    """Return the time of one class of operations of a net of whose working set the share ``far`` comes from memory."""
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
    """Return what bounds a time of ``likely`` seconds, given the times of arithmetic and memory alone."""
    if likely > FAR * max(compute, memory):
        return "overhead"
    return "compute" if compute >= memory else "memory"


@dataclass(frozen=True)
class Machine:
    """The machine of an estimate: FLOP/s, bytes/s, and bytes that its caches keep from one run to the next."""

    name: str
    peak: float
    bandwidth: float
    cached: float


def whole(
    count: Count,
    machine: Machine,
    dtype: str,
    parts: Iterable[PartEstimate],
    threads: int | None = None,
    *,
    moved: float | None = None,
) -> NetEstimate:
    """Return the sum of its parts; ``moved`` are the bytes that no fusion spares, where they differ from the count's
    type."""
    kept = tuple(sorted((p for p in parts if p.likely > 0), key=lambda p: -p.likely))
    likely = sum(p.likely for p in kept)
    moved = (count.least_bytes if moved is None else moved) - machine.cached
    by_bound: dict[str, float] = defaultdict(float)
    for part in kept:
        by_bound[part.bound] += part.likely
    return NetEstimate.model_validate(
        {
            "spec": count.spec,
            "part": machine.name,
            "dtype": dtype,
            "threads": threads,
            "samples": count.samples,
            "floor": min(likely, max(count.flops / machine.peak, moved / machine.bandwidth)),
            "likely": likely,
            "pessimistic": max(likely, sum(p.pessimistic for p in kept)),
            "bound": max(by_bound, key=lambda b: by_bound[b]),
            "utilisation": count.flops / likely / machine.peak,
            "parts": kept,
        }
    )


# --- Parts of the catalogue -------------------------------------------------------------------------------------------

OF_MEASURED = Constants(
    conv=0.6,
    gemm=0.6,
    attention=0.4,
    depthwise=0.3,
    memory=0.9,
    traffic=0.1,
    traffic_other=0.3,
    start_s=5e-6,
    start_other=0.3,
)
"""Shares of ceilings that were measured on a host itself, which lie below a data sheet's: nets in float32 on an EPYC of
Zen 5 against its best single convolution, product and copy."""
SPREAD_OF_MEASURED = 2.0
"""The interval of those, as a factor: no published figure was held against them."""


def estimate_part(
    count: Count, part: Part, dtype: EstimateType, *, software: Software | None = None, matrix: bool = True
) -> NetEstimate:
    """Return the time on a part of the catalogue, without its matrix unit where ``matrix`` is False.

    Likely: each operation bound by arithmetic or by its bytes, by the constants of the part's class and the software.
    The interval is the one in which nine of ten published speeds of devices lie that the constants had not seen.

    Raises:
        UsageError: the part has no figures for this type.
    """
    numeric = TYPES[dtype]
    computed = numeric.computed_in(part)
    if computed is None:
        raise UsageError(f"{part.name} has no arithmetic in {dtype} in the catalogue")
    software = software or usual_software(dtype)
    usual, best = usual_peak(part, computed, software, matrix=matrix), part.peak(computed, "max", matrix=matrix) or 0.0
    device_class = part.device_class if matrix else WITHOUT_MATRIX.get(part.device_class, part.device_class)
    constants = OF_MEASURED if part.measured else constants_of(device_class, software, numeric.width)
    evidence = None if part.measured else evidence_of(device_class, work_kind(count))
    factor = evidence.factor if evidence else SPREAD_OF_MEASURED
    work = work_of(count, numeric)
    share, traffic, start = by_operation(work, constants, barrier(part))
    arithmetic = work.flops / (share * usual)
    streaming = (work.weights + traffic * work.moved) / (constants.memory * part.bandwidth)
    each = seconds(work, usual, part.bandwidth, share, constants.memory, traffic, start)
    groups: dict[str, list[PartEstimate]] = defaultdict(list)
    for i, operation in enumerate(count.operations):
        terms: dict[str, float] = {"overhead": start[i], "compute": arithmetic[i], "memory": streaming[i]}
        one = PartEstimate.model_validate(
            {
                "kind": operation.kind.partition("-")[0],
                "flops": operation.flops * operation.times,
                "bytes": (work.weights[i] + work.moved[i]) * operation.times,
                "floor": operation.flops / best * operation.times,
                "likely": each[i] * operation.times,
                "pessimistic": each[i] * operation.times * factor,
                "bound": max(terms, key=lambda name: terms[name]),
            }
        )
        groups[one.kind].append(one)
    parts = [merged(kind, found, usual) for kind, found in groups.items()]
    cached = (part.llc_mib.value if part.llc_mib else 0.0) * 2**20
    counted = WIDTH[count.spec.dtype]
    weight, activation = numeric.weight_bytes / counted, numeric.activation_bytes / counted
    moved = count.touched_bytes * weight + (count.least_bytes - count.touched_bytes) * activation
    machine = Machine(part.name, best, part.bandwidth, cached)
    estimate = whole(count, machine, dtype, parts, moved=moved)
    size = part.memory.size_gb
    needed = count.weights_bytes * weight + count.kv_bytes * activation
    about = {
        "software": software,
        "evidence": evidence,
        "fast": max(estimate.floor, estimate.likely / factor),
        "fits": None if size is None else needed <= size.value * 1e9,
    }
    return estimate.model_copy(update=about)


WITHOUT_MATRIX: dict[DeviceClass, DeviceClass] = {"server CPU with AMX": "CPU with AVX-512"}


def usual_software(dtype: EstimateType) -> Software:
    """Return what mostly runs nets in this type: weights in groups are llama.cpp's formats."""
    return "llama.cpp" if TYPES[dtype].width == "weights alone" else "engine"


def merged(kind: str, found: Sequence[PartEstimate], peak: float) -> PartEstimate:
    """Return one class of operations from its shapes."""
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
    """The cost and energy of a million samples (of a decoding step: tokens)."""

    joules: float
    """Of one sample."""
    energy: float
    """Of a million, in the currency of the prices."""
    hardware: float | None
    """The processor's price over its years of use."""

    @property
    def total(self) -> float | None:
        """Return hardware and energy together; None where no price is known."""
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
    """Return the energy and money, by measured power where it is known, else by the TDP. None where neither is.

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
