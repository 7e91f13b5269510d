"""Published speeds, the constants that follow from them, and what is said of their error."""

from __future__ import annotations

import math
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hwdiag.catalogue.parts import catalogue
from hwdiag.core.errors import UsageError
from hwdiag.estimate.constants import constants_of, evidence_of, fitted_constants, wider
from hwdiag.estimate.counts import counts_of, has_name, kept, key_of, place, shipped
from hwdiag.estimate.estimate import estimate_part
from hwdiag.estimate.fit import ConstantsFit, fitted, interval_factor, prepared, ranked, specs_needed
from hwdiag.estimate.points import published_points, read_point
from hwdiag.estimate.show import elsewhere
from hwdiag.estimate.steps import estimates
from hwdiag.estimate.types import TYPES
from hwdiag.experiment.net_count import Count, NetSpec
from hwdiag.report.table import Table

POINTS = published_points()
OWN = Path(__file__).with_name("nets_of_tests.py")


@pytest.fixture(scope="module")
def counts() -> dict[str, Count]:
    """Of everything that was published: what comes with hwdiag, so torch is not needed."""
    found = {key_of(s): kept(s) for s in specs_needed(POINTS.values())}
    assert all(found.values()), [k for k, v in found.items() if v is None]
    return {k: v for k, v in found.items() if v is not None}


def test_there_are_sixty_points_of_every_class_that_people_ask_for() -> None:
    assert len(POINTS) >= 60
    classes = Counter(catalogue()[p.part].device_class for p in POINTS.values())
    assert {"server CPU with AMX", "CPU with AVX-512", "CPU with AVX2", "CPU of Arm"} <= {*classes}
    assert {"datacenter GPU", "consumer GPU", "unified-memory SoC"} <= {*classes}
    assert all(p.source.startswith("https://") for p in POINTS.values())
    assert {p.software for p in POINTS.values()} == {"eager", "compiled", "engine", "llama.cpp"}


def test_no_published_speed_exceeds_what_its_part_can_do(counts: dict[str, Count]) -> None:
    """A figure above the peak, or below the time to read the weights, is a figure of something else."""
    for p in prepared(POINTS, counts):
        whole = counts[key_of(p.point.spec)]
        computed = TYPES[p.point.dtype].computed_in(p.part)
        assert computed is not None, p.name
        peak = p.part.peak(computed, "max") or 0.0
        # JetPack's results used two accelerators beside the GPU, which the catalogue leaves out.
        allowed = 2.0 if "jetson" in p.point.part else 1.1
        assert whole.flops / p.point.seconds <= allowed * peak, p.name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unit": "furlongs"}, "unit"),
        ({"figure": 0}, "figure"),
        ({"unit": "new tokens/s"}, "new_tokens belongs"),
        ({"unit": "tokens/s", "tokens": None}, "needs tokens"),
        ({"date": "May"}, "date"),
        ({"source": "me"}, "source"),
        ({"colour": 1}, "colour"),
    ],
)
def test_what_is_no_point_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    values = {
        "part": "t4", "net": "resnet50", "batch": 1, "dtype": "int8", "software": "engine", "stack": "x", "figure": 1,
        "unit": "samples/s", "source": "https://x", "date": "2024-01", **changes,
    }  # fmt: skip
    path = tmp_path / "point.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}))
    with pytest.raises(UsageError, match=message) as raised:
        read_point(path)
    assert "\n" not in str(raised.value)


def test_a_figure_is_of_one_device_and_one_run() -> None:
    xeon = POINTS["xeon-8480-resnet50-int8-engine-mlperf-v3.0"]
    assert xeon.seconds == pytest.approx(64 / (20578.9 / 2))
    prompt = POINTS["rtx-4090-llama-3-8b-float16-llamacpp-prefill"]
    assert prompt.seconds == pytest.approx(1024 / 9056.26)
    generated = POINTS["h100-sxm-gpt-j-6b-float8-engine-trtllm-0.5.0-b64-128-128"]
    assert generated.seconds == pytest.approx(64 * 128 / 10907)
    assert generated.following is not None
    assert generated.following.tokens == 128 + 64


def test_the_slopes_are_those_of_the_prediction(counts: dict[str, Count]) -> None:
    points = prepared(
        {n: p for n, p in POINTS.items() if p.part in ("t4", "epyc-9554", "xeon-8480", "rtx-3090")}, counts
    )
    fit = ConstantsFit(points)
    values, slopes = fit.with_slopes(fit.mean)
    for i in range(0, len(fit.names), 5):
        moved = fit.mean.copy()
        moved[i] += 1e-6
        assert (fit.predicted(moved) - values) / 1e-6 == pytest.approx(slopes[:, i], abs=1e-4), fit.names[i]


def test_constants_of_a_made_up_world_are_found_again(counts: dict[str, Count]) -> None:
    """Points made from known effects: what is left out in turn is predicted, and its order is right."""
    chosen = {n: p for n, p in POINTS.items() if catalogue()[p.part].device_class == "datacenter GPU"}
    points = prepared(chosen, counts)
    fit = ConstantsFit(points)
    truth = fit.mean + 0.3 * np.random.default_rng(1).normal(size=len(fit.mean)) * fit.deviation
    fit.truth = fit.predicted(truth)
    solved = fit.solve(np.ones(len(points), bool))
    assert np.abs(np.expm1(fit.predicted(solved) - fit.truth)).max() < 0.08


def test_an_interval_holds_nine_of_ten() -> None:
    off = np.random.default_rng(2).normal(0, 0.2, 400)
    factor = interval_factor(off)
    assert 0.9 <= np.mean(np.abs(off) <= math.log(factor)) <= 0.92
    assert interval_factor(np.array([0.1, -0.3])) == pytest.approx(math.exp(0.3))


def test_what_comes_with_hwdiag_reaches_what_it_is_held_to() -> None:
    """Each device left out: median within 20 %, nine of ten within 45 %, for every group; the order of 95 in 100."""
    found = fitted_constants()
    for group in ("CPUs", "datacenter GPUs", "consumer GPUs and SoCs"):
        evidence = next(e for e in found.evidence if e.device_class == group and e.work is None)
        assert evidence.points >= 60
        assert evidence.median <= 0.20
        assert evidence.ninetieth <= 0.45
    assert found.ranked >= 0.95
    assert found.held_out.keys() == POINTS.keys(), "run python -m hwdiag.estimate.fit"


def test_the_evidence_is_of_the_class_or_of_a_wider_group_that_has_enough() -> None:
    gpu = evidence_of("datacenter GPU", "decoding")
    assert (gpu.device_class, gpu.work) == ("datacenter GPU", "decoding")
    arm = evidence_of("CPU of Arm", "convolutions")
    assert (arm.device_class, arm.work) == ("CPUs", "convolutions")
    assert wider("unified-memory SoC") == "consumer GPUs and SoCs"
    for part in catalogue().values():
        assert evidence_of(part.device_class, "products").points >= 10


def test_software_is_a_factor(counts: dict[str, Count]) -> None:
    net = counts[key_of(NetSpec(net="resnet50", batch=1024))]
    part = catalogue()["rtx-4090"]
    eager, compiled = (estimate_part(net, part, "float16", software=s) for s in ("eager", "compiled"))
    assert compiled.per_second > 1.3 * eager.per_second
    assert constants_of("consumer GPU", "eager", "16 bits") != constants_of("consumer GPU", "compiled", "16 bits")


def test_weights_in_four_bits_take_a_quarter_of_the_time_to_read(counts: dict[str, Count]) -> None:
    net = counts[key_of(NetSpec(net="llama-3-8b", phase="decode", tokens=512))]
    part = catalogue()["rtx-4090"]
    half, quarter = (estimate_part(net, part, d, software="llama.cpp") for d in ("float16", "int4-weights"))
    assert half.floor / quarter.floor == pytest.approx(16 / 4.5, rel=0.05)
    assert estimate_part(net, catalogue()["rtx-3060"], "float16").fits is False
    assert estimate_part(net, catalogue()["rtx-3060"], "int4-weights").fits is True


def test_steps_that_wait_for_one_another_pay_for_each_start() -> None:
    """A scan of ten thousand small operations is not the bytes that it moves."""
    step = {"kind": "pointwise", "name": "mul", "dtype": "float32", "flops": 0, "weight_bytes": 0, "read_bytes": 512,
            "written_bytes": 512, "times": 10000}  # fmt: skip
    base = {"spec": NetSpec(net="x"), "parameters": 1, "weights_bytes": 4.0, "touched_bytes": 4.0}
    scan = Count.model_validate({**base, "operations": [step], "modules": 3})
    estimate = estimate_part(scan, catalogue()["epyc-9654"], "float32", software="engine")
    assert estimate.likely > 10000 * 2e-6
    modules = Count.model_validate({**base, "operations": [step], "modules": 10000})
    assert estimate_part(modules, catalogue()["epyc-9654"], "float32", software="engine").likely < estimate.likely / 5


@pytest.mark.long
def test_what_comes_with_hwdiag_is_what_the_points_give(counts: dict[str, Count]) -> None:
    result, off = fitted(prepared(POINTS, counts))
    known = fitted_constants()
    assert result.ranked == pytest.approx(known.ranked, abs=0.01)
    for new, old in zip(result.evidence, known.evidence, strict=True):
        assert new.median == pytest.approx(old.median, abs=0.02), new.title
    right, pairs = ranked(prepared(POINTS, counts), off)
    assert pairs > 500
    assert right / pairs >= 0.95


# --- Counts that are kept ---------------------------------------------------------------------------------------------


def test_a_net_with_a_name_needs_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwdiag.estimate.counts.count_nets", lambda *_: pytest.fail("it was counted again"))
    (count,) = counts_of("/nonexistent/python", [NetSpec(net="resnet50")])
    assert count.flops / 1e9 == pytest.approx(8.18, rel=0.01)


def test_what_was_counted_here_is_kept_and_a_file_of_ones_own_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked: list[NetSpec] = []
    example = kept(NetSpec(net="resnet18"))
    assert example is not None

    def counting(_: str, specs: list[NetSpec]) -> tuple[Count, ...]:
        asked.extend(specs)
        return tuple(example.model_copy(update={"spec": s}) for s in specs)

    monkeypatch.setattr("hwdiag.estimate.counts.count_nets", counting)
    odd, own = NetSpec(net="resnet18", batch=17), NetSpec(net=f"{OWN}:linear")
    for _ in range(2):
        assert [c.spec for c in counts_of(sys.executable, [odd, own, odd])] == [odd, own, odd]
    assert asked == [odd, own, own]
    assert not has_name(own)
    place(odd).write_text("{")
    counts_of(sys.executable, [odd])
    assert asked[-1] == odd
    counts_of(sys.executable, [NetSpec(net="resnet50")], fresh=True)
    assert asked[-1].net == "resnet50"


def test_the_counts_that_come_with_hwdiag_hold_every_net() -> None:
    from hwdiag.agent.nets import DECODERS, NAMES

    for net in NAMES:
        assert key_of(NetSpec(net=net)) in shipped(), net
    for net in DECODERS:
        assert key_of(NetSpec(net=net, phase="decode")) in shipped(), net


@pytest.mark.slow
def test_they_are_what_is_counted_today() -> None:
    pytest.importorskip("transformers")
    specs = [NetSpec(net="resnet50", batch=256), NetSpec(net="llama-3-8b", phase="decode", tokens=512)]
    for fresh in counts_of(sys.executable, specs, fresh=True):
        known = kept(fresh.spec)
        assert known is not None
        assert known.flops == pytest.approx(fresh.flops, rel=0.001)
        assert known.unfused_bytes == pytest.approx(fresh.unfused_bytes, rel=0.02)
        assert known.kv_bytes == fresh.kv_bytes


def test_the_fastest_stands_first_and_what_does_not_fit_last(counts: dict[str, Count]) -> None:
    net = counts[key_of(NetSpec(net="llama-3-70b", phase="decode", tokens=512))]
    parts = [catalogue()[k] for k in ("rtx-4090", "epyc-9654", "mi300x")]
    (table,) = elsewhere(estimates([net], parts, "float16")).parts
    assert isinstance(table, Table)
    assert [row[1] for row in table.rows] == [
        "AMD Instinct MI300X",
        "AMD EPYC 9654",
        "NVIDIA GeForce RTX 4090: does not fit",
    ]
    assert estimates([net], parts, "float8")[1][0].dtype == "bfloat16", "in another type where a part lacks it"
