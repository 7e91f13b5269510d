"""Levers within the process: offered where they have a hold on something, with what they do to results."""

from __future__ import annotations

from typing import Any

import pytest

from hwdiag.agent.techniques import TECHNIQUES as CHILDS
from hwdiag.core.choices import Accuracy
from hwdiag.experiment.lever import DEFAULT, Lever, Plan
from hwdiag.experiment.net_facts import NetFacts, facts_of
from hwdiag.experiment.techniques import BY_NAME
from hwdiag.experiment.workloads import gpt2, matmul, resnet18
from hwdiag.host.model import Host, Isa
from hwdiag.parameters.diagnosis import Profile
from hwdiag.process.model import Command
from hwdiag.tune.factors import factors
from hwdiag.tune.recommend import recommend
from hwdiag.tune.tune import only_within, search_space
from hwdiag.tune.user_workloads import command_workload
from hwdiag.tune.verdict import verdict
from hwdiag.tune.within import within
from tests.conftest import make_host, make_software
from tests.tune.test_recommend import compared, evidence, measurement

NET = NetFacts(is_net=True, convolutions=True, linear_layers=True, records_gradients=True)


def host_with(*features: str) -> Host:
    host = make_host()
    isa = Isa(level="x86-64-v4", features=("AVX2", *features), missing=())
    return host.model_copy(update={"cpu": host.cpu.model_copy(update={"isa": isa})})


def ids(facts: NetFacts, *features: str, **software: Any) -> set[str]:
    found = within(host_with(*features), make_software(**{"onednn": True, **software}), facts)
    return {lever.id for factor in found for lever in factor.levers}


def test_a_cpu_that_multiplies_in_bf16_is_offered_all_ways_to_it() -> None:
    fpmath = "ONEDNN_DEFAULT_FPMATH_MODE=BF16"
    assert {fpmath, "matmul-bf16", "autocast-bf16", "bf16"} <= ids(NET, "AVX512-BF16")
    assert not {fpmath, "matmul-bf16", "autocast-bf16"} & ids(NET)
    assert "bf16" in ids(NET)  # half the memory, whatever the CPU multiplies in
    assert fpmath not in ids(NET, "AMX-BF16", environment={"ONEDNN_DEFAULT_FPMATH_MODE": "ANY"})


def test_levers_follow_what_is_in_the_net() -> None:
    assert {"channels-last", "inference-mode", "flush-denormals", "compile", "compile-freezing"} <= ids(NET)
    assert "int8-dynamic" in ids(NET, "AVX512-VNNI")
    assert not {"channels-last", "int8-dynamic"} & ids(NetFacts(is_net=True), "AVX512-VNNI")
    trained = NET.model_copy(update={"training": True})
    assert not {"inference-mode", "compile-freezing", "int8-dynamic", "fp16"} & ids(trained, "AVX512-VNNI")
    on_gpu = NET.model_copy(update={"device": "cuda:0"})
    assert {"tf32", "fp16", "autocast-fp16", "cudnn-benchmark", "compile-reduce-overhead"} <= ids(on_gpu)
    assert not {"matmul-bf16", "flush-denormals", "int8-dynamic"} & ids(on_gpu, "AVX512-BF16", "AVX512-VNNI")


def test_every_lever_has_its_side_in_the_agent_and_in_settings() -> None:
    found = within(host_with("AVX512-BF16", "AVX512-VNNI", "AVX512-FP16"), make_software(onednn=True), NET)
    for lever in (lever for factor in found for lever in factor.levers):
        for name in lever.techniques:
            assert name in CHILDS
            assert BY_NAME[name].setup or BY_NAME[name].prepare or BY_NAME[name].around


def test_the_catalogues_nets_are_asked_together_and_kernels_have_none() -> None:
    both = facts_of([resnet18(), gpt2(), matmul("float32", 4)])
    assert (both.convolutions, both.attention, both.records_gradients) == (True, True, False)
    names = {f.name for f in factors(host_with("AVX512-BF16"), make_software(onednn=True), [resnet18(), gpt2()])}
    assert {"precision", "layout", "attention", "compile"} <= names
    kernels = {f.name for f in factors(host_with("AVX512-BF16"), make_software(onednn=True), [matmul("float32", 4)])}
    assert not {"precision", "layout", "compile"} & kernels


def test_fewer_bits_are_never_raced_for_unchanged_results() -> None:
    found = [f for f in within(host_with("AVX512-BF16"), make_software(onednn=True), NET) if f.levers]
    space = search_space(found, risky=False)
    assert space.first is None
    assert [f.name for f in space.last] == ["compile"]
    assert search_space([], risky=False).first is None


def made(name: str, accuracy: Accuracy, factor: str = "precision") -> Lever:
    return Lever(id=name, factor=factor, title=name, techniques=(name,), accuracy=accuracy)


BF16 = Plan.of(made("bf16", "reduced"), made("channels-last", "same", "layout"))
PLANS = (DEFAULT, Plan.of(made("channels-last", "same", "layout")), BF16)


def measured(accuracy: Accuracy = "same", **more: Any) -> Any:
    """bf16 with channels_last gains 2.4x; channels_last alone is undecided."""
    return evidence(
        compared(PLANS[1].id, "overall", 1.02, "undecided"),
        compared(BF16.id, "overall", 2.4, "better"),
        compared(BF16.id, "gpt2", 2.6, "better"),
        profile=Profile(accuracy=accuracy),
        plans=PLANS,
        measurements=(measurement(1), measurement(2, plan=BF16.id, max_error=0.004)),
        shares={BF16.id: {"bf16": 2.0, "channels-last": 1.2}},
        **more,
    )


def test_fewer_bits_are_told_beside_what_is_recommended_with_their_error() -> None:
    e = measured()
    overall, *others = recommend(e)
    assert overall.plan is None
    offer = next(r for r in others if r.id == "accuracy-reduced")
    assert (offer.plan, offer.accuracy, offer.offered) == (BF16.id, "reduced", True)
    assert offer.shares == {"bf16": 2.0, "channels-last": 1.2}
    assert "gpt2 2.60x" in offer.why
    text = verdict(e, (overall, *others))
    assert "2.40x" in text
    assert "error 0.4 %" in text
    assert text.startswith("Undecided: ")


def test_who_allows_fewer_bits_is_recommended_them() -> None:
    overall, *_ = recommend(measured("reduced"))
    assert (overall.plan, overall.accuracy) == (BF16.id, "reduced")
    assert "8 bits of precision" in overall.risk
    assert verdict(measured("reduced"), recommend(measured("reduced"))).startswith(
        "ResNet-18 and GPT-2 small run 2.40x"
    )


def test_where_nothing_else_was_better_the_words_say_so_of_unchanged_results_only() -> None:
    same = compared(PLANS[1].id, "overall", 1.0, "same")
    e = evidence(same, compared(BF16.id, "overall", 2.4, "better"), plans=PLANS)
    assert verdict(e, recommend(e)).startswith(
        "Keep what you have: with unchanged results nothing was shown to be faster.\nAt lower precision"
    )


@pytest.mark.parametrize("features", [(), ("AVX512-BF16",)])
def test_a_command_is_switched_from_its_start_alone(features: tuple[str, ...]) -> None:
    workload = command_workload(Command(argv=("python3", "train.py")))
    found = factors(host_with(*features), make_software(onednn=True), [workload])
    inside = {
        f.name: [x.id for x in f.levers] for f in found if f.name in ("precision", "denormals", "layout", "compile")
    }
    assert not {"layout", "compile"} & inside.keys()
    assert "bf16" not in inside.get("precision", [])
    assert bool(inside.get("precision")) == bool(features)


def test_a_quick_search_looks_for_what_was_asked_for_alone() -> None:
    """It has time to confirm one plan, and none to tell large effects of precision from small ones."""
    found = [f for f in within(host_with("AVX512-BF16"), make_software(onednn=True), NET) if f.levers]
    kept = {x.id for f in found for x in only_within(f, "same").levers}
    assert {"channels-last", "compile"} <= kept
    assert not {"bf16", "autocast-bf16", "matmul-bf16"} & kept
    assert "bf16" in {x.id for f in found for x in only_within(f, "reduced").levers}
