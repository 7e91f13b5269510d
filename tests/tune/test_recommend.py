"""Advice claims no more than the evidence, and each rule speaks where it should and is silent where it should."""

from __future__ import annotations

from typing import Any

import pytest

from hwdiag.core.interval import Interval
from hwdiag.experiment.lever import DEFAULT, Lever, Plan
from hwdiag.experiment.model import Comparison, Estimate, Measurement, Phase, Verdict
from hwdiag.experiment.workloads import gpt2, resnet18
from hwdiag.host.model import CoreKind, Gap, Gpu, Limits
from hwdiag.parameters.diagnosis import Expectation, Profile
from hwdiag.process.launch import Launch
from hwdiag.process.model import Disturbance, Outcome, Software
from hwdiag.process.software import NOT_HERE
from hwdiag.tune.evidence import Evidence
from hwdiag.tune.findings import consult
from hwdiag.tune.recommend import recommend
from hwdiag.tune.verdict import verdict
from tests.conftest import make_host, make_software


def plan(name: str, risk: str = "", **sets: Any) -> Plan:
    launch = Launch.model_validate(sets)
    return Plan.of(Lever(id=name, factor="placement", title=name, launch=launch, risk=risk))


PLANS = (DEFAULT, plan("threads=2", threads=2), plan("node=0", cpus=(0, 1)))


def measurement(number: int, **more: object) -> Measurement:
    values = {
        "id": f"m{number:04d}",
        "plan": "default",
        "workload": "gpt2",
        "phase": "screen",
        "block": 0,
        "process": 1,
    }
    ok = {"outcome": Outcome(kind="ok"), "seconds": (0.1, 0.1, 0.1)}
    return Measurement.model_validate({**values, **ok, **more})


def compared(
    candidate: str, workload: str, median: float, call: Verdict, phase: Phase = "confirm", width: float = 0.02
) -> Comparison:
    speedup = Interval(median=median, low=median - width, high=median + width, processes=10)
    return Comparison(
        workload=workload, baseline="default", candidate=candidate, phase=phase, speedup=speedup, verdict=call,
        why="because", measurements=("m0001",),
    )  # fmt: skip


def evidence(*comparisons: Comparison, **more: object) -> Evidence:
    values = {
        "profile": Profile(),
        "host": make_host(),
        "software": make_software(),
        "plans": PLANS,
        "workloads": (resnet18(), gpt2()),
        "overall_of": ("resnet18", "gpt2"),
        "measurements": (measurement(1),),
        "comparisons": comparisons,
    }
    return Evidence.model_validate({**values, **more})


def test_a_confirmed_gain_is_recommended_with_its_evidence() -> None:
    e = evidence(compared("threads=2", "overall", 1.25, "better"), compared("threads=2", "gpt2", 1.4, "better"))
    overall, first, *_ = recommend(e)
    assert (overall.scope, overall.plan, overall.evidence) == ("overall", "threads=2", ("m0001",))
    assert "1.25x" in overall.title
    assert "1.23 to 1.27, 10 pairs" in overall.why
    assert (first.scope, first.plan) == ("gpt2", "threads=2")
    assert overall.risk
    assert overall.undo
    assert "1.25x" in verdict(e, recommend(e))


def test_taking_every_cpu_is_a_risk_where_others_work_too() -> None:
    gain = compared("threads=4", "overall", 1.25, "better")
    plans = (DEFAULT, plan("threads=4", threads=4))
    risks = {
        role: recommend(evidence(gain, plans=plans, profile=Profile(role=role)))[0].risk
        for role in ("headless", "desktop", "shared")
    }
    assert "keeps every CPU busy" not in risks["headless"]
    assert "felt on a desktop host" in risks["desktop"]
    assert "felt on a shared host" in risks["shared"]


def test_a_gain_of_the_screening_alone_is_not_recommended() -> None:
    e = evidence(compared("threads=2", "overall", 1.5, "better", phase="screen"))
    assert [r.plan for r in recommend(e)] == [None, None, None]
    assert verdict(e, recommend(e)).startswith("Keep what you have")


def test_where_a_gain_is_not_excluded_nothing_is_comforted_away() -> None:
    """A run that had tried each lever once, or none at all, said "Keep what you have"."""
    seen = compared("threads=2", "overall", 0.98, "undecided", phase="screen")
    e = evidence(seen, open_levers=("threads=2", "glibc keeps its heap"))
    assert verdict(e, recommend(e)) == (
        "Undecided: nothing was shown to be faster, but 2 changes may be.\n"
        "Too few measurements exclude a gain of 3 %. More time (BUDGET=thorough) or a quieter machine would decide it."
    )
    assert recommend(e)[0].title.endswith("keep what you have, undecided")
    assert verdict(evidence(seen), recommend(e)).startswith("Keep what you have")


@pytest.mark.parametrize(
    ("speedup", "phase", "pairs", "said"),
    [
        (1.72, "screen", 1, "1.72x as fast with bf16 in 1 pair of processes, which does not decide it"),
        (1.72, "confirm", 5, "1.72x as fast with bf16 in 5 pairs of processes, which does not decide it"),
        (1.05, "screen", 1, ""),
    ],
)
def test_a_promise_in_fewer_bits_is_told_beside_what_is_undecided(
    speedup: float, phase: Phase, pairs: int, said: str
) -> None:
    """A net was twice as fast in bf16 in the only pair that there was time for, and the verdict did not say so."""
    bf16 = Plan.of(Lever(id="bf16", factor="precision", title="bf16", techniques=("bf16",), accuracy="reduced"))
    seen = compared("bf16", "overall", speedup, "undecided", phase=phase)
    seen = seen.model_copy(update={"speedup": seen.speedup.model_copy(update={"processes": pairs})})
    e = evidence(seen, plans=(DEFAULT, bf16), open_levers=("threads=1",))
    _, _, promise = verdict(e, recommend(e)).partition("At lower precision (bf16, fp16 or TF32), undecided: ")
    assert promise == (f"{said}." if said else "")


def test_an_undecided_race_says_so_and_keeps() -> None:
    e = evidence(compared("threads=2", "overall", 1.05, "undecided", width=0.2))
    assert recommend(e)[0].title.endswith("keep what you have, undecided")
    said = verdict(e, recommend(e))
    assert said.startswith("Undecided: threads=2 may be faster.\n")
    assert "It looked 1.05x (0.85 to 1.25) as fast in 10 pairs of processes. That does not decide it" in said
    assert "BUDGET=thorough" in said
    assert "a quieter machine" in said


def test_a_large_gain_that_is_undecided_says_why() -> None:
    """A clear interval over too few pairs was called undecided, and nobody could see why."""
    few = compared("threads=2", "overall", 6.53, "undecided", width=0.1)
    few = few.model_copy(update={"why": "at least 8 pairs are needed to decide"})
    e = evidence(few)
    assert "since at least 8 pairs are needed to decide" in verdict(e, recommend(e))


def test_without_a_comparison_nothing_is_called_faster_or_kept() -> None:
    """A run that had no time for any comparison said that no other way was shown to be faster."""
    e = evidence()
    assert not e.comparisons
    assert verdict(e, recommend(e)).startswith("Not compared: ")
    assert recommend(e)[0].title.endswith("no other way was compared")


def test_an_overall_gain_that_harms_one_of_its_workloads_is_not_recommended() -> None:
    e = evidence(compared("threads=2", "overall", 1.2, "better"), compared("threads=2", "resnet18", 0.8, "worse"))
    assert recommend(e)[0].plan is None


def test_of_two_gains_the_surer_one_is_taken() -> None:
    e = evidence(
        compared("threads=2", "overall", 1.20, "better", width=0.02),
        compared("node=0", "overall", 1.25, "better", width=0.2),
    )
    assert recommend(e)[0].plan == "threads=2"


def test_a_gain_on_one_workload_is_named_in_the_verdict() -> None:
    e = evidence(compared("threads=2", "overall", 1.0, "same"), compared("threads=2", "gpt2", 1.4, "better"))
    said = verdict(e, recommend(e))
    assert said.startswith("GPT-2 small runs 1.40x (1.38 to 1.42) as fast with")
    assert said.endswith(".\nFor all workloads together nothing was shown to help.")


def test_without_measurements_there_is_no_recommendation() -> None:
    dead = Software(python="/usr/bin/python3", outcome=Outcome(kind="signal", detail="killed by SIGILL"))
    e = evidence(software=dead, measurements=(), plans=())
    assert recommend(e) == ()
    assert verdict(e, ()) == "Nothing could be measured: killed by SIGILL."
    late = evidence(measurements=())
    assert verdict(late, ()).startswith("Nothing could be measured: the time was used up first")
    assert consult(e)[0][0].id == "torch-does-not-run"


BUSY = Disturbance(steal=0.3, other_cpu=1.5, throttled_s=2.0, swapped_bytes=1 << 30)
GPU = Gpu(index=0, name="NVIDIA GeForce RTX 3060")
EXPECT_XEON = Profile(host="xeon-e5v2", expect=Expectation(cpu="e5-2680", min_sockets=1, min_cores=4, arch="x86_64"))
EXPECT_ARM = Profile(host="dgx", expect=Expectation(arch="aarch64", gpu="GB10", min_memory_gib=110, min_cores=20))


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({}, set()),
        ({"software": make_software(environment={"OPENBLAS_CORETYPE": "Haswell"})}, {"inherited-openblas-coretype"}),
        ({"software": make_software(environment={"TORCH_NUM_THREADS": "8"})}, {"inherited-torch-num-threads"}),
        ({"software": make_software(environment={"MKL_VERBOSE": "1"})}, {"inherited-mkl-verbose"}),
        ({"software": make_software(environment={"MKL_SOMETHING": "1"})}, set()),
        ({"software": make_software(threads=40)}, {"more-threads-than-cpus"}),
        ({"host": make_host(limits=Limits(allowed=(0, 1, 2, 3), cpu_quota=1.5))}, {"quota-below-cpus"}),
        ({"host": make_host().model_copy(update={"gpus": (GPU,)})}, {"gpu-not-used"}),
        ({"measurements": (measurement(1, disturbance=BUSY),)}, {"noisy-machine"}),
        ({"profile": EXPECT_XEON}, set()),
        (
            {"profile": EXPECT_ARM},
            {"unexpected-arch", "unexpected-gpu", "unexpected-min-memory-gib", "unexpected-min-cores"},
        ),
    ],
)
def test_rules_speak_where_they_should(more: dict[str, object], found: set[str]) -> None:
    assert {f.id for f in consult(evidence(**more))[0]} == found


def test_a_dead_child_is_a_finding_that_names_its_measurements() -> None:
    dead = Outcome(kind="signal", detail="killed by SIGILL in gpt2")
    findings, checks = consult(evidence(measurements=(measurement(1), measurement(2, outcome=dead, seconds=()))))
    assert [(f.severity, f.evidence) for f in findings] == [("problem", ("m0002",))]
    assert "SIGILL" in findings[0].detail
    assert "results" not in {c.id for c in checks}


def test_what_could_not_be_looked_at_is_said() -> None:
    two_nodes = make_host(nodes=2).model_copy(update={"gaps": (Gap(what="/sys/x", why="permission denied"),)})
    refused = Outcome(kind="not-applied", detail="asked for memory policy interleave 0-1, the process has default")
    tried = (measurement(1), measurement(2, outcome=refused, seconds=()))
    checks = consult(evidence(host=two_nodes, measurements=tried))[1]
    unchecked = {c.id: c for c in checks if c.state == "unchecked"}
    assert {"gpu", "numa", "allocators", "gap-/sys/x"} <= set(unchecked)
    assert unchecked["gap-/sys/x"].detail == "permission denied"
    assert "could not be measured" in unchecked["numa"].title


def test_what_carries_a_risk_is_offered_and_taken_on_only_by_who_chose_it() -> None:
    risky = plan("daring", "Nobody supports it.", env={"X": "1"})
    found = {
        "plans": (*PLANS, risky),
        "comparisons": (compared("daring", "overall", 1.4, "better"), compared("daring", "gpt2", 2.0, "better")),
    }
    overall, *rest = recommend(evidence(**found))
    (offer,) = [r for r in rest if r.offered]
    assert (overall.plan, offer.plan, offer.id) == (None, "daring", "offer-overall")
    assert offer.risk.startswith("Nobody supports it.")
    assert "gpt2 2.00x" in offer.why
    assert [r.plan for r in rest if not r.offered] == [None, None]
    said = verdict(evidence(**found), recommend(evidence(**found)))
    assert "as fast with an unsupported option: daring.\nNo supported option" in said
    chosen = recommend(evidence(**found, profile=Profile(unsupported=True)))
    assert (chosen[0].plan, chosen[0].offered) == ("daring", False)


def test_a_library_far_behind_another_is_told_of() -> None:
    def timed(workload: str, seconds: float) -> Estimate:
        interval = Interval(median=seconds, low=seconds, high=seconds, processes=3)
        return Estimate(workload=workload, plan="default", device="cpu", seconds=interval, measurements=("m0001",))

    def said(other: float) -> set[str]:
        findings, checks = consult(evidence(estimates=(timed("matmul-fp32", 0.1), timed("linear-onednn", other))))
        return {f.id for f in findings} | {c.id for c in checks if c.state == "fine"}

    assert "engine-gap" in said(0.05)
    assert "engines" in said(0.095)
    assert not {"engine-gap", "engines"} & {f.id for f in consult(evidence())[0]}


def test_processes_that_were_timed_cold_are_told_of() -> None:
    warm = (0.1, 0.101, 0.1, 0.099) * 5
    cold = (*(0.2 - 0.01 * i for i in range(8)), *warm)
    few = evidence(measurements=tuple(measurement(i, seconds=warm) for i in range(1, 11)))
    many = evidence(measurements=tuple(measurement(i, seconds=cold if i < 4 else warm) for i in range(1, 11)))
    assert "warm" in {c.id for c in consult(few)[1]}
    (said,) = [f for f in consult(many)[0] if f.id == "still-warming"]
    assert said.title.startswith("3 of 10 measurements")
    assert said.evidence == ("m0001", "m0002", "m0003")


def test_the_worst_comes_first() -> None:
    software = make_software(threads=40, environment={"TORCH_NUM_THREADS": "8"})
    dead = measurement(2, outcome=Outcome(kind="timeout", detail="no end"), seconds=())
    severities = [f.severity for f in consult(evidence(software=software, measurements=(dead,)))[0]]
    assert severities == ["problem", "warning", "note"]


def test_threads_are_told_for_each_kind_of_core_before_anything_is_measured() -> None:
    host = make_host(cores_per_node=4)
    kinds = (CoreKind(name="Cortex-X925", cpus=(2, 3), cores=2), CoreKind(name="Cortex-A725", cpus=(0, 1), cores=2))
    mixed = host.model_copy(update={"cpu": host.cpu.model_copy(update={"kinds": kinds})})
    for source in ("live", "snapshot"):
        found, _ = consult(evidence(host=mixed.model_copy(update={"source": source})))
        (said,) = [f for f in found if f.id == "mixed-cores"]
        assert "2 threads for Cortex-X925 (CPUs 2-3); 2 threads for Cortex-A725 (CPUs 0-1)" in said.title
    assert not [f for f in consult(evidence())[0] if f.id == "mixed-cores"]


def test_of_a_host_that_is_not_here_only_facts_are_judged() -> None:
    limits = Limits(allowed=(0, 1, 2, 3), cpu_quota=1.5)
    there = make_host(limits=limits).model_copy(update={"source": "snapshot"})
    e = evidence(host=there, software=NOT_HERE, measurements=())
    findings, checks = consult(e)
    assert {f.id for f in findings} == {"quota-below-cpus"}
    assert "torch" in {c.id for c in checks if c.detail == "not measured on this machine"}
    assert recommend(e) == ()
    assert verdict(e, ()).endswith("read from a snapshot: nothing was measured on this machine.")
