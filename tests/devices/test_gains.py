"""What a technique is worth: decided only by enough pairs, corrected for their number, and said as it was measured."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from hwdiag.devices.claims import GUIDE_CLAIMS, judged
from hwdiag.devices.gains import MOST_HOPES, claim_of, gains, measure_gains
from hwdiag.devices.model import Device, Gain
from hwdiag.devices.nets import NETS, tasks
from hwdiag.devices.recommend import choices, winners
from hwdiag.devices.techniques import applies
from hwdiag.devices.techniques_show import reason
from hwdiag.experiment.budget import Budget
from hwdiag.experiment.campaign import Campaign
from hwdiag.experiment.interleaved import Candidate, ProcessResult, Turn
from hwdiag.experiment.lever import BASELINE, DEFAULT
from hwdiag.experiment.model import Measurement
from hwdiag.experiment.techniques import BY_NAME, TECHNIQUES
from hwdiag.process.model import Disturbance, Outcome
from tests.devices.samples import CPU, GPU, RESNET, measured, pairs, planned, study

BF16, INFERENCE_MODE = BY_NAME["autocast-bf16"], BY_NAME["inference-mode"]


def found(measurements: Sequence[Measurement], *names: str, hoped: bool = True) -> dict[str, Gain]:
    claims = planned(*names) if hoped else []
    return {g.technique: g for g in gains(measurements, [RESNET], [CPU], claims, 0.03)}


def test_a_planned_technique_that_is_faster_is_better_and_one_of_the_screening_is_not() -> None:
    planned = found(pairs(BF16.name, 1.5), BF16.name)[BF16.name]
    assert planned.comparison is not None
    assert (planned.comparison.verdict, planned.planned) == ("better", True)
    assert planned.comparison.speedup.median == pytest.approx(1.5, rel=0.01)
    screened = found(pairs(BF16.name, 1.5, count=2, phase="screen"), BF16.name, hoped=False)[BF16.name]
    assert screened.comparison is not None
    assert (screened.comparison.verdict, screened.planned) == ("undecided", False)


def test_what_is_the_default_is_compared_the_other_way_round() -> None:
    without = pairs(INFERENCE_MODE.name, 0.8)  # the process without it takes 1.25 times as long
    gain = found(without, INFERENCE_MODE.name)[INFERENCE_MODE.name]
    assert gain.comparison is not None
    assert gain.comparison.speedup.median == pytest.approx(1.25, rel=0.01)
    assert gain.comparison.verdict == "better"


def test_the_more_techniques_are_tested_on_a_net_the_more_pairs_each_needs() -> None:
    eight = [*pairs(BF16.name, 1.5, count=8), *pairs("channels-last", 1.2, count=8, default=False)]
    alone = found(pairs(BF16.name, 1.5, count=8), BF16.name)
    both = found(eight, BF16.name, "channels-last")
    p_alone, p_both = (g[BF16.name].comparison.p_value for g in (alone, both))  # type: ignore[union-attr]
    assert p_alone == pytest.approx(2**-8)
    assert p_both == pytest.approx(2 * 2**-8)


def test_one_that_fails_is_a_row_with_its_reason_and_no_figure() -> None:
    broken = Outcome(kind="error", detail="Missing: int8 needs torchao in that interpreter: No module named 'torchao'")
    seen = [measured("default", "gpt2-inference", 0.1), measured("int8", "gpt2-inference", 0, outcome=broken)]
    (gain,) = gains(seen, [NETS["gpt2"].workload("inference")], [CPU], (), 0.03)
    assert (gain.technique, gain.comparison, gain.outcome) == ("int8", None, broken)


def test_each_device_is_compared_with_itself() -> None:
    """The blocks of each are numbered from 1: the first of the CPU is not the first of the GPU."""
    names = (BF16.name, "channels-last")
    on_gpu = [m.model_copy(update={"device": GPU.name, "seconds": (m.seconds[0] / 50,)})
              for m in [*pairs(names[0], 3.0), *pairs(names[1], 1.0, default=False)]]  # fmt: skip
    seen = [*pairs(names[0], 1.5), *pairs(names[1], 1.0, default=False), *on_gpu]
    claims = [*planned(*names), *planned(*names, device=GPU)]
    ratios = {(g.device, g.technique): g.comparison and g.comparison.speedup.median
              for g in gains(seen, [RESNET], [CPU, GPU], claims, 0.03)}  # fmt: skip
    assert ratios == {
        (d.name, name): pytest.approx(ratio, rel=0.01)
        for d, ratios in ((CPU, (1.5, 1.0)), (GPU, (3.0, 1.0)))
        for name, ratio in zip(names, ratios, strict=True)
    }


def test_a_technique_whose_default_failed_says_so() -> None:
    full = Outcome(kind="out-of-memory", detail="CUDA out of memory")
    seen = [measured(BASELINE, RESNET.name, 0, outcome=full), measured(BF16.name, RESNET.name, 0.1)]
    gain = found(seen, hoped=False)[BF16.name]
    assert gain.comparison is None
    assert reason(gain) == "without it: CUDA out of memory"


def test_memory_counts_processes_that_measured_nothing_else() -> None:
    seen = pairs(BF16.name, 1.1, count=1, phase="screen", peak_rss_bytes=900, max_error=1e-3)  # with a reference in it
    seen += pairs(BF16.name, 1.1, count=1, phase="screen", peak_rss_bytes=500)
    assert found(seen)[BF16.name].peak_bytes == 500


def test_techniques_apply_where_they_can_do_something() -> None:
    def names(device: Device, net: str, mode: Any) -> set[str]:
        return {t.name for t in TECHNIQUES if applies(t, NETS[net].workload(mode), device)}

    assert "channels-last" not in names(CPU, "gpt2", "inference")
    assert {"int8", "fused-attention"} <= names(CPU, "gpt2", "inference")
    assert not {"tf32", "graphs", "cudnn-benchmark", "expandable-segments"} & names(CPU, "resnet18", "inference")
    assert {"tf32", "graphs", "cudnn-benchmark", "expandable-segments"} <= names(GPU, "resnet18", "inference")
    assert {"checkpointing", "accumulation"} <= names(CPU, "resnet18", "training")
    assert not names(CPU, "resnet18", "training") & {"inference-mode", "int8"}
    fed = NETS["resnet18"].workload("inference", copies_inputs=True)
    assert [t.name for t in TECHNIQUES if applies(t, fed, GPU)] == ["pinned"]
    assert [w.name for w in tasks(("resnet18",), ("inference",), CPU)] == ["resnet18-inference"]
    assert [w.name for w in tasks(("resnet18",), ("inference",), GPU)] == [
        "resnet18-inference",
        "resnet18-inference-copied-inputs",
    ]


def told(candidate: Candidate) -> str:
    """The id of the plan that a process runs under."""
    plans = [DEFAULT, *(t.plan for t in TECHNIQUES)]
    return next(plan.id for plan in plans if (plan.launch, plan.techniques) == (candidate.launch, candidate.techniques))


class Simulated:
    """Turns in which bf16 is twice as fast and nothing else changes anything; it keeps who was asked what."""

    def __init__(self) -> None:
        self.asked: list[tuple[frozenset[str], frozenset[str]]] = []
        self._wobble = itertools.cycle([1.0, 1.01, 0.99])

    def run(self, candidates: Sequence[Candidate], *, device: str, seed: int) -> Disturbance:  # noqa: ARG002
        self.asked.append((frozenset(map(told, candidates)), frozenset(name for p in candidates for name in p.todo)))
        for candidate in candidates:
            for name in candidate.todo:
                seconds = (0.005 if told(candidate) == BF16.name else 0.0101) * next(self._wobble)
                candidate.results[name] = ProcessResult(process=1, seconds=[seconds], first_s=1.0)
        return Disturbance()


def campaign(runner: Simulated, seconds: float) -> Campaign:
    turn = Turn(warmup_s=0, window_s=0, windows=1, min_samples=1)
    budget = Budget(total_s=seconds, noise_blocks=0, rounds=0, most_pairs=0, finalists=0, turn=turn)
    clock = itertools.count().__next__
    return Campaign("python", budget, seed=1, child_timeout_s=1, clock=clock, runner=runner, check_all=True)


def test_the_screening_asks_all_and_only_the_hopeful_are_measured_again() -> None:
    runner = Simulated()
    run = campaign(runner, 10_000)
    workloads = tasks(("resnet18",), ("inference",), CPU)
    claims = measure_gains(run, CPU, workloads, rounds=2, slow_rounds=1, slow_on=1)
    assert claim_of(BF16, RESNET, CPU) in claims
    assert len(claims) <= 2 * MOST_HOPES
    first, second, again, compiled = (runner.asked[n][0] for n in (0, 1, 4, -1))  # a round takes two blocks
    screened = first | second
    whole = {"bf16", "bf16-channels-last", "autocast-bf16-channels-last"}
    assert screened == {BASELINE, "inference-mode", "channels-last", BF16.name, "guide-threads", *whole}
    assert {BF16.name, BASELINE} <= again < screened
    assert compiled == {BASELINE, "compile", "compile-bf16"}  # after all that starts at once
    of = {g.technique: g for g in gains(run.measurements, workloads, [CPU], claims, 0.03)}
    assert of[BF16.name].comparison.verdict == "better"  # type: ignore[union-attr]
    assert not [
        name for name, g in of.items() if name != BF16.name and g.comparison and g.comparison.verdict == "better"
    ]
    assert of["compile"].cold_s == 1.0


def test_without_time_nothing_more_is_started() -> None:
    runner = Simulated()
    assert measure_gains(campaign(runner, 0), CPU, [RESNET], rounds=2, slow_rounds=2, slow_on=1) == ()
    assert runner.asked == []


def test_every_technique_has_its_side_in_the_child() -> None:
    from hwdiag.agent.techniques import TECHNIQUES as CHILDS

    asked = {name for t in TECHNIQUES for name in t.plan.techniques}
    assert asked <= CHILDS.keys()
    assert [t.name for t in TECHNIQUES if t.plan.launch.is_default and not t.plan.techniques] == []


# --- what follows from them ------------------------------------------------------------------------------------------


def standings(**more: Any) -> dict[str, str]:
    return {p.claim: k.standing for p, k in judged(study(**more))}


def test_of_several_devices_each_is_named() -> None:
    """The saving on the GPU took the place of the CPU's, and two gains of one net could not be told apart."""
    gain = found(pairs(BF16.name, 1.5), BF16.name)[BF16.name].model_copy(
        update={"peak_bytes": 50, "default_peak_bytes": 100}
    )
    both = (gain, gain.model_copy(update={"device": GPU.name, "peak_bytes": 95}))
    told = {c.claim: o for c, o in judged(study(gains=both, devices=(CPU, GPU)))}
    name = RESNET.name
    assert told["Mixed precision saves memory"].why == (
        f"{name}: -50% of peak memory; {name} on {GPU.name}: -5% of peak memory"
    )
    assert f"; {name} on {GPU.name}: 1.5" in told["Mixed precision saves time in inference"].why


def test_promises_follow_the_measurements() -> None:
    claim = "Mixed precision saves time in inference"
    assert standings()[claim] == "not measured"
    for ratio, standing in ((1.5, "holds here"), (0.7, "doesn't"), (1.0, "doesn't")):
        of = tuple(found(pairs(BF16.name, ratio), BF16.name).values())
        assert standings(gains=of)[claim] == standing
    few = tuple(found(pairs(BF16.name, 1.5, count=2, phase="screen"), hoped=False).values())
    assert standings(gains=few)[claim] == "undecided"


def test_what_needs_a_gpu_says_so_without_one_only() -> None:
    needs = {claim for claim, standing in standings().items() if standing == "needs a GPU"}
    assert {"Pinned memory is critical", "PYTORCH_CUDA_ALLOC_CONF=max_split_size_mb:128"} <= needs
    assert "needs a GPU" not in standings(devices=(CPU, GPU)).values()
    assert len({p.claim for p in GUIDE_CLAIMS}) == len(GUIDE_CLAIMS)


def test_settings_take_what_gains_and_keeps_the_results() -> None:
    exact = found(pairs(BF16.name, 1.5, max_error=0.004), BF16.name).values()
    wrong = found(pairs(BF16.name, 1.5, max_error=0.09), BF16.name).values()
    slower = found(pairs("channels-last", 0.5), "channels-last").values()
    assert [c.technique for c in choices(study(gains=(*exact, *slower)))] == [BF16.name]
    assert choices(study(gains=tuple(wrong))) == ()


def test_results_are_judged_by_the_precision_that_a_technique_asks_for() -> None:
    """An error of bf16 is none of a technique that keeps float32."""
    for technique, error, taken in (
        (BF16.name, 0.004, True),
        ("channels-last", 0.004, False),
        ("channels-last", 1e-5, True),
        (BF16.name, 0.06, False),
    ):
        gained = tuple(found(pairs(technique, 1.5, max_error=error), technique).values())
        assert bool(choices(study(gains=gained))) is taken, (technique, error)


def test_of_several_that_gain_only_the_best_is_handed_over_as_it_was_measured() -> None:
    seen = [*pairs(BF16.name, 1.5, count=12), *pairs("channels-last", 1.2, count=12, default=False),
            *pairs(INFERENCE_MODE.name, 0.8, count=12, default=False)]  # fmt: skip
    of = tuple(found(seen, BF16.name, "channels-last", INFERENCE_MODE.name).values())
    assert {g.comparison.verdict for g in of if g.comparison} == {"better"}
    assert {c.technique for c in choices(study(gains=of))} == {BF16.name, INFERENCE_MODE.name}


def test_one_net_that_becomes_slower_keeps_a_technique_out() -> None:
    (better,) = found(pairs(BF16.name, 1.5), BF16.name).values()
    (worse,) = found(pairs(BF16.name, 0.5), BF16.name).values()
    other = worse.model_copy(update={"workload": "gpt2-inference"})
    assert choices(study(gains=(better, other))) == ()


def test_techniques_are_compared_on_the_nets_that_all_of_them_ran_on() -> None:
    """bf16 gains more than int8 where both ran; elsewhere, where int8 was never tried, bf16 gains little."""
    gpt2 = NETS["gpt2"].workload("inference")
    seen = [
        *pairs(BF16.name, 1.44, workload=gpt2.name, count=12, max_error=6e-3),
        *pairs("int8", 1.34, workload=gpt2.name, count=12, default=False, max_error=3e-2),
        *pairs(BF16.name, 1.02, count=12, max_error=6e-3),
    ]
    claims = [*planned(BF16.name, "int8", workload=gpt2), *planned(BF16.name)]
    of = gains(seen, [RESNET, gpt2], [CPU], claims, 0.03)
    assert {(g.technique, g.workload): g.comparison.verdict for g in of if g.comparison} == {
        (BF16.name, gpt2.name): "better",
        ("int8", gpt2.name): "better",
        (BF16.name, RESNET.name): "same",
    }
    (bf16, int8) = winners(study(gains=of), "cpu", "inference")
    assert bf16.gain < int8.gain  # over all nets that each ran on
    assert [c.technique for c in choices(study(gains=of))] == [BF16.name]


def test_techniques_that_share_no_net_are_compared_by_the_nets_that_they_gain_on() -> None:
    gpt2 = NETS["gpt2"].workload("inference")
    unet = NETS["unet-block"].workload("inference")
    seen = [
        *pairs("channels-last", 1.1, count=12),
        *pairs("channels-last", 1.1, workload=unet.name, count=12),
        *pairs("int8", 1.9, workload=gpt2.name, count=12),
    ]
    claims = [
        *planned("channels-last"),
        *planned("channels-last", workload=unet),
        *planned("int8", workload=gpt2),
    ]
    found = study(gains=gains(seen, [RESNET, gpt2, unet], [CPU], claims, 0.03))
    assert [c.technique for c in choices(found)] == ["channels-last"]


def test_all_devices_and_nets_of_one_run_share_its_error_budget() -> None:
    """Nine pairs suffice for five claims, but not for six."""
    one = pairs(BF16.name, 1.5, count=9)
    gpt2 = NETS["gpt2"].workload("inference")
    others = [
        *planned("channels-last", INFERENCE_MODE.name),
        *planned(BF16.name, INFERENCE_MODE.name, "fused-attention", workload=gpt2),
    ]
    verdicts = []
    for claims in ([*planned(BF16.name), *others[:4]], [*planned(BF16.name), *others]):
        (gain,) = gains(one, [RESNET, gpt2], [CPU], claims, 0.03)
        assert gain.comparison is not None
        verdicts.append(gain.comparison.verdict)
    assert verdicts == ["better", "undecided"]
