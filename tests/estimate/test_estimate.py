"""Estimates: from single operations, and from data sheets; what they are held to, and when they say nothing."""

from __future__ import annotations

import math
from typing import get_args

import pytest

from hwdiag.catalogue.parts import catalogue
from hwdiag.core.choices import Software
from hwdiag.core.errors import UsageError
from hwdiag.core.interval import Interval
from hwdiag.estimate.calibrate import Timed, combined, grid, why_disturbed
from hwdiag.estimate.check import LEAST_QUIET, PredictedAndMeasured, row
from hwdiag.estimate.estimate import cost_of, estimate_here, estimate_part
from hwdiag.estimate.model import Calibration, Checked, CheckRow, Point
from hwdiag.estimate.rates import Rates, described, described_point
from hwdiag.estimate.types import TYPES
from hwdiag.experiment.net_count import Count, NetSpec, Operation
from hwdiag.process.model import Disturbance

PEAK, BANDWIDTH, CACHED, START = 100e9, 30e9, 90e9, 4e-6


def machine_seconds(point: Point) -> float:
    """A made-up machine: products at a rate that grows with their size, everything else by its bytes."""
    if point.kind == "reread":
        return point.dims[0] / (CACHED if point.dims[0] <= 16 << 20 else BANDWIDTH)
    if point.kind == "overhead":
        return {"view": 0.5e-6, "bare": 3e-6, "module": 5e-6}[point.name]
    _, work = described_point(point)
    if point.kind == "elementwise":
        return START + work / BANDWIDTH
    weights = 4.0 * point.dims[1] * point.dims[2] if point.kind == "gemm" else 0.0
    return START + max(work / PEAK, weights / BANDWIDTH)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    bare = Calibration(
        threads=1,
        dtype="float32",
        points=tuple(Point.model_validate({"dtype": "float32", **p, "seconds": 1}) for p in grid("float32", 32 << 20)),
        processes=1,
        llc_bytes=32 << 20,
    )
    timed = Timed(tuple(machine_seconds(p) for p in bare.points), "")
    return combined("float32", 1, [timed, timed], llc_bytes=32 << 20)


def gemm(rows: int, inner: int, columns: int, times: int = 1) -> Operation:
    return Operation(
        kind="gemm",
        name="addmm",
        dtype="float32",
        dims=(1, rows, inner, columns),
        flops=2.0 * rows * inner * columns,
        weight_bytes=4.0 * inner * columns,
        read_bytes=4.0 * rows * inner,
        written_bytes=4.0 * rows * columns,
        times=times,
    )


def count_of(*operations: Operation, spec: NetSpec | None = None, **more: float) -> Count:
    touched = sum(o.weight_bytes * o.times for o in operations)
    values = {"weights_bytes": touched, "touched_bytes": touched, "parameters": int(touched / 4), **more}
    return Count.model_validate({"spec": spec or NetSpec(net="x"), "operations": operations, **values})


@pytest.mark.parametrize(
    "shape", [(128, 768, 768), (197, 1024, 4096), (512, 1600, 6400), (1, 2048, 5632), (3136, 96, 384)]
)
def test_products_between_the_grid_are_what_the_machine_does(
    calibration: Calibration, shape: tuple[int, int, int]
) -> None:
    operation = gemm(*shape)
    truth = START + max(operation.flops / PEAK, operation.weight_bytes / BANDWIDTH)
    assert Rates(calibration).seconds(operation) == pytest.approx(truth, rel=0.15)


@pytest.mark.parametrize("size", [2**13, 2**19, 3 * 2**21])
def test_so_are_elementwise_operations(calibration: Calibration, size: int) -> None:
    operation = Operation(
        kind="slow", name="gelu", dtype="float32", flops=0, weight_bytes=0, read_bytes=size, written_bytes=size, times=1
    )
    assert Rates(calibration).seconds(operation) == pytest.approx(START + 2 * size / BANDWIDTH, rel=0.15)


def test_beyond_the_grid_time_grows_with_the_work_and_nothing_is_free(calibration: Calibration) -> None:
    rates = Rates(calibration)
    large, larger = gemm(4096, 8192, 8192), gemm(4096, 8192, 16384)
    assert rates.seconds(larger) == pytest.approx(2 * rates.seconds(large), rel=0.01)
    assert rates.seconds(gemm(1, 1, 1)) >= START


def test_every_counted_kind_has_a_timed_operation(calibration: Calibration) -> None:
    rates = Rates(calibration)
    for kind in ("norm", "softmax", "reduce", "pool", "copy", "gather", "create", "slow", "pointwise"):
        for name in ("anything", "relu", "cat"):
            operation = Operation.model_validate(
                {"kind": kind, "name": name, "dtype": "float32", "flops": 0, "weight_bytes": 0, "read_bytes": 1e6,
                 "written_bytes": 1e6, "times": 1}
            )  # fmt: skip
            assert rates.seconds(operation) > 0
            assert rates.error(operation) >= 1
    for kind, dims in (("attention", (12, 1, 128, 64, 64)), ("attention-causal", (12, 128, 128, 64, 64))):
        operation = gemm(1, 1, 1).model_copy(update={"kind": kind, "dims": dims, "flops": 1e6})
        assert described(operation)[0] == kind
        assert rates.seconds(operation) > 0


def test_a_net_is_the_sum_of_its_parts_and_what_starting_costs(calibration: Calibration) -> None:
    count = count_of(gemm(128, 1024, 1024, times=24), modules=100, views=50)
    estimate = estimate_here(count, calibration, "here")
    one = Rates(calibration).seconds(count.operations[0])
    assert estimate.likely == pytest.approx(24 * one + 100 * 2e-6 + 50 * 0.5e-6)
    assert estimate.floor <= estimate.likely <= estimate.pessimistic
    assert estimate.bound == "compute"
    assert 0.8 < estimate.utilisation <= 1
    decode = estimate_here(count_of(gemm(1, 4096, 4096, times=24)), calibration, "here")
    assert decode.bound == "memory"
    assert decode.floor == pytest.approx((24 * (4.0 * 4096 * 4096 + 4 * 4096) - (32 << 20)) / 30e9, rel=0.05)


def test_of_several_processes_the_quiet_ones_count() -> None:
    size = len(list(grid("float32", 1)))
    loud, quiet = Timed((9.0,) * size, "others kept 1.0 CPUs busy"), Timed((1.0,) * size, "")
    both = combined("float32", 2, [loud, quiet], llc_bytes=1)
    assert {p.seconds for p in both.points} == {1.0}
    assert both.quiet
    only = combined("float32", 2, [loud, loud], llc_bytes=1)
    assert not only.quiet
    assert only.why == "others kept 1.0 CPUs busy"


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (Disturbance(other_cpu=0.1, steal=0.01, throttled_s=0.0, swapped_bytes=0), ""),
        (Disturbance(), ""),
        (Disturbance(other_cpu=1.25), "others kept 1.2 CPUs busy"),
        (Disturbance(steal=0.2), "the hypervisor took 20% of the time"),
        (Disturbance(throttled_s=1.5), "the control group's quota stopped it for 1.5 s"),
        (Disturbance(swapped_bytes=4096), "the machine swapped"),
    ],
)
def test_what_disturbs(seen: Disturbance, why: str) -> None:
    assert why_disturbed(seen) == why


def check_row(error: float, decided: bool = True) -> CheckRow:
    return CheckRow(
        spec=NetSpec(net=f"net{error}"), threads=1, floor=0.1, likely=1 + error, pessimistic=2, bound="compute",
        utilisation=0.5, measured=Interval(median=1, low=1, high=1, processes=3),
        ratio=Interval(median=1 + error, low=1 + error, high=1 + error, processes=3), decided=decided,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([0.05, -0.1], "The estimator holds here: mean error 7.5%, worst -10.0% (net-0.1), over 2 nets of the list"),
        ([0.05, -0.3], "The estimator is not good enough here: mean error 17.5%, worst -30.0%"),
        ([0.2, 0.2], "The estimator is not good enough here: mean error 20.0%"),
    ],
)
def test_the_verdict_on_itself(rows: list[float], verdict: str) -> None:
    checked = Checked(host="h", cpu="c", started_at="", rows=tuple(map(check_row, rows)), quiet=True)
    assert checked.verdict.startswith(verdict)


def test_under_contention_there_is_no_verdict(calibration: Calibration) -> None:
    rows = (check_row(0.01), check_row(0.02, decided=False))
    checked = Checked(host="h", cpu="c", started_at="", rows=rows, quiet=False, why="others kept 1.0 CPUs busy")
    assert checked.verdict.startswith("Undecided: 1 of 2 rows were disturbed (others kept 1.0 CPUs busy)")
    estimate = estimate_here(count_of(gemm(128, 1024, 1024)), calibration, "here")
    noisy = [
        PredictedAndMeasured(2.0, 1.0, is_quiet=True),
        PredictedAndMeasured(2.0, 9.0, is_quiet=False),
        PredictedAndMeasured(9.0, 9.0, is_quiet=False),
    ]
    assert not row(estimate, 1, noisy).decided
    fine = row(estimate, 1, [*noisy, PredictedAndMeasured(1.0, 1.1, is_quiet=True)])
    assert fine.decided
    assert fine.measured.processes == LEAST_QUIET
    assert fine.measured.median == pytest.approx(1.05)
    assert fine.error == pytest.approx((2 + 1 / 1.1) / 2 - 1)


def test_drift_of_the_machine_is_no_error(calibration: Calibration) -> None:
    estimate = estimate_here(count_of(gemm(128, 1024, 1024)), calibration, "here")
    blocks = [PredictedAndMeasured(1.1 * slow, slow, is_quiet=True) for slow in (1.0, 1.4, 0.7)]
    assert row(estimate, 1, blocks).error == pytest.approx(0.1)


# --- Parts ------------------------------------------------------------------------------------------------------------


def conv_of_resnet50(batch: int) -> Count:
    """ResNet-50's work as one convolution: 8.18 GFLOP and 25.6 million weights an image."""
    whole = gemm(1, 1, 1).model_copy(
        update={
            "kind": "conv", "flops": 8.18e9 * batch, "weight_bytes": 102e6, "read_bytes": 150e6 * batch,
            "written_bytes": 44e6 * batch, "dims": (batch, 64, 64, 9, 3136, 1, 1),
        }
    )  # fmt: skip
    return count_of(whole, spec=NetSpec(net="resnet50", batch=batch))


def bert_like(batch: int) -> Count:
    """BERT-large's products over 178 tokens."""
    rows = batch * 178
    layer = [gemm(rows, 1024, 1024, times=96), gemm(rows, 1024, 4096, times=24), gemm(rows, 4096, 1024, times=24)]
    return count_of(*layer, spec=NetSpec(net="bert-large", tokens=178, batch=batch))


def test_the_corrected_bounds_of_vit_large() -> None:
    """What follows from 123.1 GFLOP and 304 million INT8 weights: the comparison's ranking turns round."""
    parts, flops, weights = catalogue(), 123.1e9, 304e6
    intel, amd = parts["xeon-8490h"], parts["epyc-9654"]
    assert flops / (intel.peak("int8") or 1) == pytest.approx(0.53e-3, rel=0.02)
    assert weights / intel.bandwidth == pytest.approx(0.99e-3, rel=0.01)
    assert flops / (intel.peak("int8", matrix=False) or 1) == pytest.approx(4.2e-3, rel=0.02)
    assert flops / (amd.peak("int8") or 1) == pytest.approx(4.2e-3, rel=0.02)
    assert flops / (amd.peak("int8", "max") or 1) == pytest.approx(2.7e-3, rel=0.02)
    count = count_of(
        gemm(197, 1024, 304000 // 1, times=1).model_copy(update={"flops": flops, "weight_bytes": 4 * weights})
    )
    assert estimate_part(count, intel, "int8").likely < estimate_part(count, amd, "int8").likely
    without = estimate_part(count, intel, "int8", matrix=False)
    assert without.likely > 4 * estimate_part(count, intel, "int8").likely / 2


def test_decoding_is_bound_by_memory_and_batches_share_the_weights() -> None:
    layer = gemm(1, 4096, 4096, times=400)
    one = count_of(layer, spec=NetSpec(net="llama-7b", phase="decode"))
    several = [gemm(16, 4096, 4096, times=400)]
    sixteen = count_of(*several, spec=NetSpec(net="llama-7b", phase="decode", batch=16))
    for key in ("epyc-9654", "xeon-8490h", "h100-sxm"):
        part = catalogue()[key]
        single = estimate_part(one, part, "bfloat16")
        assert single.bound == "memory"
        assert single.floor <= single.likely <= single.pessimistic
        assert single.per_second * one.touched_bytes / 2 < part.bandwidth
        assert estimate_part(sixteen, part, "bfloat16").per_second > 6 * single.per_second


def test_a_part_without_the_type_says_so() -> None:
    with pytest.raises(UsageError, match="E5-2680 v2 has no arithmetic in int8"):
        estimate_part(conv_of_resnet50(1), catalogue()["xeon-e5-2680v2"], "int8")


def test_a_net_that_does_not_fit_says_so() -> None:
    large = count_of(gemm(1, 4096, 4096, times=400))
    assert estimate_part(large, catalogue()["rtx-3060"], "bfloat16").fits is False
    assert estimate_part(large, catalogue()["h100-sxm"], "bfloat16").fits is True
    assert estimate_part(large, catalogue()["epyc-9654"], "bfloat16").fits is None


def test_cost_is_price_and_electricity() -> None:
    part = catalogue()["xeon-8490h"]
    estimate = estimate_part(conv_of_resnet50(64), part, "int8")
    cost = cost_of(estimate, part, kwh=0.25, years=4, busy=0.5, pue=1.4)
    assert cost is not None
    assert cost.joules == pytest.approx(350 / estimate.per_second)
    assert cost.energy == pytest.approx(350 / 1000 / 3600 / estimate.per_second * 1e6 * 1.4 * 0.25)
    seconds = 4 * 365.25 * 86400 * 0.5
    assert cost.hardware == pytest.approx(17000 / (seconds * estimate.per_second) * 1e6)
    assert cost.total == pytest.approx(cost.hardware + cost.energy)
    assert cost_of(estimate, catalogue()["ampereone-a128"]) is None  # neither its TDP nor its power is known


def test_no_figure_is_infinite_or_negative_on_any_part() -> None:
    for part in catalogue().values():
        for dtype, numeric in TYPES.items():
            for software in get_args(Software):
                if numeric.computed_in(part) is not None:
                    e = estimate_part(bert_like(1), part, dtype, software=software)
                    assert 0 < e.floor <= (e.fast or 0) <= e.likely <= e.pessimistic < math.inf
                    assert 0 < e.utilisation <= 1.25


def test_what_the_cache_keeps_is_read_from_there(calibration: Calibration) -> None:
    rates = Rates(calibration)
    assert rates.from_memory(8 << 20) == 0
    assert 0 < rates.from_memory(20 << 20) < 1
    assert rates.from_memory(1 << 30) == 1
    near = [p.model_copy(update={"seconds": p.seconds / 2}) if p.near else p for p in calibration.points]
    faster = calibration.model_copy(update={"points": tuple(near)})
    small, large = gemm(64, 256, 256), gemm(64, 4096, 4096)
    assert Rates(faster).seconds(small, 0) == pytest.approx(rates.seconds(small) / 2, rel=0.05)
    assert Rates(faster).seconds(large, 0) == pytest.approx(rates.seconds(large), rel=0.05)
    held, not_held = count_of(gemm(64, 256, 256, times=8)), count_of(gemm(64, 4096, 4096, times=8))
    assert estimate_here(held, faster, "here").likely < 0.6 * estimate_here(held, calibration, "here").likely
    assert estimate_here(not_held, faster, "here").likely == estimate_here(not_held, calibration, "here").likely


def test_without_a_difference_between_cache_and_memory_nothing_is_called_cached(calibration: Calibration) -> None:
    even = [
        p.model_copy(update={"seconds": p.dims[0] / BANDWIDTH}) if p.kind == "reread" else p for p in calibration.points
    ]
    assert Rates(calibration.model_copy(update={"points": tuple(even)})).from_memory(1) == 1
