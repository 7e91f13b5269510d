"""Causes of low speeds: each rule speaks by its evidence alone, and what nothing explains is not known."""

from __future__ import annotations

from typing import Any

import pytest

from hwdiag.experiment.ceilings import Ceiling
from hwdiag.experiment.operation_times import OperationCost, OperationTimes
from hwdiag.experiment.workloads import gpt2
from hwdiag.process.model import Outcome
from hwdiag.report.roof import Roof
from hwdiag.tune.below_ceiling import judged


def ceiling(kind: Any, dtype: str, value: float) -> Ceiling:
    return Ceiling(device="cpu", kind=kind, dtype=dtype, value=value, workload="w", measurement="m")


ROOF = Roof("cpu", {"float32": ceiling("compute", "float32", 400e9)}, ceiling("memory", "float64", 30e9))
GOOD = OperationCost(name="addmm", calls=10, seconds=0.095, flops=36e9, bytes=1e8, dtype="float32")


def op(name: str, calls: float, seconds: float, *, flops: float = 0.0, size: float = 0.0) -> OperationCost:
    return OperationCost(name=name, calls=calls, seconds=seconds, flops=flops, bytes=size, dtype="float32")


def look(*operations: OperationCost, **more: Any) -> OperationTimes:
    values = {"workload": "gpt2", "seconds": 0.1, "threads": 2, "cpus": 1.9, "operations": operations or (GOOD,)}
    return OperationTimes.model_validate({**values, **more})


@pytest.mark.parametrize(
    ("seen", "causes", "evidence"),
    [
        (look(), [], ""),
        (look(faults=25000, system_share=0.4), ["page faults"], "25,000 page faults an iteration (97.7 MiB), 40 %"),
        (look(faults=25000, system_share=0.02), [], ""),
        (look(faults=10, system_share=0.4), [], ""),
        (look(cpus=1.05), ["few threads work"], "1.1 CPUs work for 2 threads"),
        (look(cpus=0.9, threads=1), [], ""),
        (look(op("add", 4000, 0.06)), ["small kernels"], "4,000 operations an iteration"),
        (look(op("addmm", 5, 0.05, flops=19e9)), ["small kernels"], "50 % of its 100 ms between them"),
        (look(op("copy_", 4, 0.095, size=2.5e9)), ["memory-bound"], "95 % of the time at 26.3 GB/s, of 30 GB/s"),
        (look(op("copy_", 4, 0.095, size=9e9)), [], ""),
        (look(op("convolution", 20, 0.095, flops=9e9)), ["a slow library path"], "24 % of what this machine"),
    ],
)  # fmt: skip
def test_each_cause_rests_on_its_evidence(seen: OperationTimes, causes: list[str], evidence: str) -> None:
    found = judged(gpt2(), 0.3, "cpu", seen, ROOF)
    assert [c.what.partition(":")[0] for c in found.causes] == causes
    assert evidence in "; ".join(c.evidence for c in found.causes)
    assert bool(found.why_unknown) == (not causes)
    assert found.command


def test_what_explains_most_comes_first() -> None:
    seen = look(op("convolution", 20, 0.095, flops=9e9), faults=25000, system_share=0.3)
    assert [c.what.partition(":")[0] for c in judged(gpt2(), 0.3, "cpu", seen, ROOF).causes] == [
        "a slow library path",
        "page faults",
    ]


@pytest.mark.parametrize(
    ("seen", "device", "why"),
    [
        (None, "cpu", "there was no time to look into it"),
        (None, "cuda:0", "a GPU is not looked into here"),
        (OperationTimes(workload="gpt2", outcome=Outcome(kind="timeout", detail="killed after 3 s")), "cpu", "killed"),
    ],
)
def test_what_was_not_seen_is_not_known_and_says_what_would_tell(
    seen: OperationTimes | None, device: str, why: str
) -> None:
    found = judged(gpt2(), 0.3, device, seen, ROOF)
    assert found.causes == ()
    assert why in found.why_unknown
    assert found.command.startswith(("hwdiag", "make diagnose"))
