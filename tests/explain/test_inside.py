"""Probes of what was seen from inside: the input, and what computes."""

from __future__ import annotations

from typing import Any

import pytest

from hwdiag.core.finding import Finding
from hwdiag.explain.model import Case
from hwdiag.explain.probes import collectives, kernels, rates
from hwdiag.explain.probes import input as input_probe
from hwdiag.explain.shares import shares
from hwdiag.process.heavy_operations import HeavyOperation
from hwdiag.process.observation.inside_model import (
    InsideReport,
    Loader,
    OperationRate,
    ReachedRates,
    RepeatedOperation,
    Subnormal,
    ThreadActivity,
)
from hwdiag.process.trace import Traced
from tests.explain.observed import case, checks, findings, process, thread


def trained(shares: dict[str, float], low: float, high: float, workers: int = 0, looks: int = 800) -> InsideReport:
    loop = ThreadActivity(thread="main", looks=looks, seconds=looks / 100, shares=shares, low=low, high=high)
    loaders = (Loader(workers=workers, batch_size=16),)
    return InsideReport(
        pid=100, command=("python",), state="written", torch="2.13", activities=(loop,), loaders=loaders
    )


def test_a_loader_without_workers_is_told_with_its_share_and_workers_to_use() -> None:
    report = trained({"input": 0.65, "model": 0.35}, 0.6, 0.7)
    found = findings([*input_probe.look(case(process(), inside=(report,)))])["input-bound:100"]
    assert "spends 65 % of its loop on data (60% to 70%)" in found.title
    assert "in its own process" in found.title
    assert "num_workers=" in found.detail
    assert "2.86x" in found.detail


def test_not_input_bound_needs_an_interval_below_what_counts() -> None:
    of = case(process(), inside=(trained({"input": 0.01, "model": 0.99}, 0.0, 0.02),))
    assert checks([*input_probe.look(of)])["input-bound:100"].state == "fine"
    few = case(process(), inside=(trained({"input": 0.01, "model": 0.99}, 0.0, 0.02, looks=40),))
    assert checks([*input_probe.look(few)])["input-bound:100"].state == "unchecked"
    wide = case(process(), inside=(trained({"input": 0.03, "model": 0.97}, 0.0, 0.2),))
    assert checks([*input_probe.look(wide)])["input-bound:100"].state == "unchecked"
    assert checks([*input_probe.look(case(process()))])["input-bound"].state == "unchecked"


def test_a_function_that_makes_data_is_named() -> None:
    report = trained({"input: get_batch (train.py:7)": 0.5, "model": 0.5}, 0.45, 0.55)
    report = report.model_copy(update={"loaders": ()})
    found = findings([*input_probe.look(case(process(), inside=(report,)))])["input-bound:100"]
    assert "get_batch (train.py:7)" in found.title
    assert "torch.utils.data.Dataset" in found.detail


def traced(**more: object) -> Traced:
    cpu = {"launching": 0.9, "elsewhere": 0.1}
    return Traced.model_validate(
        {"seconds": 4, "events": 9, "operations": (), "cpu": cpu, "gpus": (), "memory": (), **more}
    )


def seen(**more: object) -> InsideReport:
    told = {"pid": 100, "command": ("python",), "state": "written", "torch": "2.13", **more}
    return InsideReport.model_validate(told)


def test_denormals_are_told_with_what_they_cost_here() -> None:
    small = Subnormal(parameters=0.9, others=0.0, looked_at=4000)

    def told(flushed_s: float | None) -> tuple[str, str, str]:
        again = RepeatedOperation(name="aten::mm", dims="8x8, 8x8", dtype="float", seconds=0.05, flushed_s=flushed_s)
        report = seen(subnormal=small, repeated=(again,) if flushed_s else (), traced=traced())
        found = findings([*kernels.look(case(process(), inside=(report,)))])["denormals:100"]
        return found.severity, found.title, found.detail

    severity, title, detail = told(0.001)
    assert severity == "warning"
    assert "50 times as slow" in title
    assert "torch.set_flush_denormal(True)" in detail
    assert told(0.05)[0] == "note"
    assert "was not measured" in told(None)[2]
    none = seen(subnormal=Subnormal(parameters=0.001, others=0.0, looked_at=4000), traced=traced())
    assert not findings([*kernels.look(case(process(), inside=(none,)))])


def test_half_precision_without_instructions_names_what_hides_them() -> None:
    heavy = HeavyOperation(
        name="aten::mm",
        dims=((96, 512), (512, 1024)),
        types=("c10::BFloat16", "c10::BFloat16"),
        concrete=(),
        calls=9,
        seconds=3.6,
        flop=1e8,
    )
    again = RepeatedOperation(
        name="aten::mm", dims="96x512, 512x1024", dtype="c10::BFloat16", seconds=0.8, float32_s=0.1
    )

    def told(**facts: object) -> tuple[str, str]:
        report = seen(traced=traced(heavy=(heavy,)), repeated=(again,), facts=facts)
        found = findings([*kernels.look(case(process(), inside=(report,)))])["bfloat16-without-hardware:100"]
        return found.title, found.detail

    title, detail = told(environment={"ONEDNN_MAX_CPU_ISA": "AVX2"})
    assert "90 % of the recorded time" in title
    assert "ONEDNN_MAX_CPU_ISA=AVX2" in title
    assert "env -u ONEDNN_MAX_CPU_ISA" in detail
    assert "8 times as long" in detail
    assert "float32" in told()[1]


def test_recompilation_is_told() -> None:
    facts = {"compiled_frames": [9, 1], "recompiled": {"wave (a.py:3)": 8}}
    found = findings([*kernels.look(case(process(), inside=(seen(traced=traced(), facts=facts),)))])
    assert "compiled one function 9 times, wave (a.py:3)" in found["recompiled:100"].title


def of_ranks(*waits: float) -> Case:
    ranks = [
        seen(
            pid=100 + n,
            rank=n,
            world=len(waits),
            loop_s=1.0,
            traced=traced(cpu={"communication": w, "launching": 1 - w}),
        )
        for n, w in enumerate(waits)
    ]
    return case(*(process(r.pid) for r in ranks), inside=tuple(ranks))


@pytest.mark.parametrize(
    ("waits", "severity", "words"),
    [
        ((0.6, 0.03), "warning", ("rank 0 of 2 60 % and rank 1 of 2 3 %", "rank 1 of 2 is the slow one")),
        ((0.15, 0.14), "note", ("rank 0 of 2 15 %", "the exchange itself")),
        ((0.04, 0.03), "fine", ("hardly wait", "rank 1 of 2 3 %")),
    ],
)
def test_each_rank_is_named_with_its_wait_and_the_slow_one(
    waits: tuple[float, ...], severity: str, words: tuple[str, ...]
) -> None:
    answer = next(iter(collectives.look(of_ranks(*waits))))
    state = answer.severity if isinstance(answer, Finding) else answer.state
    assert state == severity
    assert all(word in f"{answer.title}. {answer.detail}" for word in words), answer


def test_what_a_backward_pass_waits_for_in_c_is_a_share_of_its_own() -> None:
    loop = ThreadActivity(thread="main", looks=99, seconds=9.0, shares={"backward": 0.7, "model": 0.3}, low=0, high=0)
    report = seen(traced=traced(cpu={"communication": 0.4, "launching": 0.6}), activities=(loop,), rank=0, world=2)
    found = {s.what: s.share for s in shares(case(process(), inside=(report,)))}
    assert found["in collectives"] == pytest.approx(0.4)
    assert found["computing the backward pass"] == pytest.approx(0.3)


SSE = {"environment": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "TERM": "xterm"}}
RATES: list[tuple[dict[str, Any], dict[str, Any], float, str, tuple[str, ...]]] = [
    ({}, {}, 0.0, "fine", ("25 % of the 100 GFLOP/s", "ceilings on 4 CPUs", "4 threads")),
    ({"seconds": 0.004}, {}, 0.0, "fine", ()),
    ({"seconds": 0.02, "with_variables_s": 0.018}, SSE, 0.0, "warning",
     ("20.0 ms a call in it and 2.00 ms by itself", "ONEDNN_MAX_CPU_ISA=SSE41", "env -u ATEN_CPU_CAPABILITY")),
    ({"seconds": 0.02}, {"mkldnn": False}, 0.0, "warning", ("oneDNN is turned off",)),
    ({"seconds": 0.02, "with_variables_s": 0.002}, SSE, 0.0, "warning", ("are not the reason", "subnormal")),
    ({"seconds": 0.02}, {}, 5.0, "unchecked", ("waited for a CPU 50 %",)),
    ({"seconds": 0.02, "bytes": 2e8}, {}, 0.0, "fine", ("of a copy",)),
]  # fmt: skip
"""What differs in the operation, facts, seconds of waiting for a CPU; what is said."""


@pytest.mark.parametrize(("told", "facts", "wait_s", "severity", "words"), RATES)
def test_rates_are_held_against_what_the_host_reaches_by_itself(
    told: dict[str, Any], facts: dict[str, Any], wait_s: float, severity: str, words: tuple[str, ...]
) -> None:
    usual = {"name": "aten::mm", "dims": "8x8, 8x8", "dtype": "float", "flop": 5e7, "bytes": 1e6, "total_s": 3.0,
             "seconds": 0.002, "alone_s": 0.002}  # fmt: skip
    one = OperationRate.model_validate({**usual, **told})
    found = ReachedRates(cpus=4, threads=4, flop_rates={"float": 1e11}, bytes_rate=1e10, operations=(one,))
    report = seen(traced=traced(), rates=found, facts=facts)
    (answer,) = rates.look(case(process(100, thread(cpu_s=5.0, wait_s=wait_s)), inside=(report,)))
    assert (answer.severity if isinstance(answer, Finding) else answer.state) == severity
    assert all(word in f"{answer.title}. {answer.detail}" for word in words), answer


def test_what_was_not_recorded_is_not_called_fine() -> None:
    assert checks([*kernels.look(case(process(), inside=(seen(),)))])["kernels"].state == "unchecked"
