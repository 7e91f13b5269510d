"""The plots draw what the record says, say it in words, and say nothing where there is nothing."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from hwdiag.core.interval import Interval
from hwdiag.experiment.lever import Lever, Plan
from hwdiag.experiment.model import SearchStep, TriedPlan
from hwdiag.process.launch import Launch
from hwdiag.record.model import Record
from hwdiag.record.tuning import tuning
from hwdiag.report.figure import Figure
from hwdiag.report.plots import gains, noise_strips, roofline, search_steps, steps_figure, thread_scaling
from tests.report.samples import changed, make_record

SVG = "{http://www.w3.org/2000/svg}"


def draw(record: Record) -> list[Figure]:
    figures = [gains(record), thread_scaling(record), roofline(tuning(record)), roofline(tuning(record), "cuda:0")]
    figures += [search_steps(record), noise_strips(record)]
    assert all(figures)
    return [f for f in figures if f]


def texts(figure: Figure) -> list[str]:
    return ["".join(t.itertext()) for t in ET.fromstring(figure.svg).iter(f"{SVG}text")]


@pytest.fixture(scope="module")
def drawn() -> list[Figure]:
    return draw(make_record())


def test_valid_labelled_and_from_nowhere_else(drawn):
    for figure in drawn:
        root = ET.fromstring(figure.svg)
        assert root.get("role") == "img"
        assert root[0].tag == f"{SVG}title"
        assert root[1].text == figure.alt
        links = {m for m in re.findall(r"https?://[^\"' ]+", figure.svg) if not m.startswith("http://www.w3.org/")}
        assert not links
        assert "metadata" not in figure.svg


def test_same_record_same_bytes(drawn):
    assert [f.svg for f in draw(make_record())] == [f.svg for f in drawn]


def test_same_bytes_whatever_the_matplotlibrc_says(drawn):
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": None}):
        assert [f.svg for f in draw(make_record())] == [f.svg for f in drawn]


def test_evidence_is_in_the_record(drawn, record):
    known = {m.id for m in tuning(record).measurements}
    for figure in drawn:
        assert figure.evidence
        assert set(figure.evidence) <= known
        assert len(set(figure.evidence)) == len(figure.evidence)


def test_gains_tells_each_speedup(drawn):
    figure = drawn[0]
    assert "overall with node0 + tcmalloc 1.12x (1.10 to 1.14), better" in figure.alt
    assert "copy with node0 + tcmalloc 0.92x (0.89 to 0.95), worse" in figure.alt
    assert "1.31x (1.26 to 1.36) · better" in texts(figure)
    assert "3 %" in figure.caption


def test_gains_takes_the_minimum_effect_from_the_parameters():
    figure = gains(make_record(params={"tune": {"min_effect": 7.5}}))
    assert figure is not None
    assert "7.5 %" in figure.caption


def test_scaling_tells_the_best_of_each_workload(drawn, record):
    figure = drawn[1]
    assert "relative to 1 thread" in figure.alt
    for w in tuning(record).workloads:
        assert w.name in texts(figure)
    assert "copy is fastest with 16 threads, 3.02x (3.00 to 3.03)" in figure.alt
    assert not {"m022", "m025"} & set(figure.evidence), "bound and interleaved plans set more than threads"


def naming_mkl_too(lever: Lever) -> Lever:
    launch = lever.launch.plus(Launch(env={"MKL_NUM_THREADS": str(lever.launch.threads)}))
    return lever.model_copy(update={"launch": launch})


def test_threads_named_twice_are_still_threads_only(drawn, record):
    twice = tuple(
        Plan.of(*(naming_mkl_too(lever) for lever in plan.levers)) if plan.launch.threads else plan
        for plan in tuning(record).plans
    )
    figure = thread_scaling(changed(record, plans=twice))
    assert figure == drawn[1]


def test_scaling_starts_from_the_default_where_one_thread_was_not_measured(record):
    some = tuple(e for e in tuning(record).estimates if e.plan != "threads-1")
    figure = thread_scaling(changed(record, estimates=some))
    assert figure is not None
    assert "relative to today's default" in figure.alt


def test_roofline_tells_ceilings_and_shares(drawn):
    figure = drawn[2]
    assert "memory 31.6 GB/s" in texts(figure)
    assert any(t.startswith("float32 475 GFLOP/s") for t in texts(figure))
    assert "matmul-fp32 at 341 FLOP/byte reaches 460 GFLOP/s, 97 % of its roof" in figure.alt
    assert "copy" not in figure.alt, "copy has no operations"
    assert figure.name == "roofline-cpu"
    assert drawn[3].name == "roofline-cuda-0"


def test_names_are_text_and_not_formulas():
    record = make_record()
    hostile = tuple(
        w.model_copy(update={"name": r"$\frac{a}$<b>"}) if w.name == "gpt2" else w for w in tuning(record).workloads
    )
    renamed = tuple(
        e.model_copy(update={"workload": r"$\frac{a}$<b>"}) if e.workload == "gpt2" else e
        for e in tuning(record).estimates
    )
    figure = roofline(tuning(changed(record, workloads=hostile, estimates=renamed)))
    assert figure is not None
    assert any(t.startswith(r"$\frac{a}$<b>") for t in texts(figure))


@pytest.mark.parametrize("field", ["plans", "estimates", "workloads"])
def test_nothing_to_draw_is_none(field):
    record = make_record(**{field: ()})
    assert thread_scaling(record) is None
    assert roofline(tuning(record)) is None


def test_the_search_tells_what_was_taken_on_and_what_dropped(drawn):
    alt = drawn[4].alt
    assert "placement: node0 1.10x (1.08 to 1.12), threads-1 0.20x (0.18 to 0.22) (dropped); taken on: node0" in alt
    assert "heap: node0 + tcmalloc 1.09x (1.07 to 1.11); nothing taken on" in alt
    assert "single processes differ by 13 %, two processes that take turns by 2.1 %" in drawn[5].alt


def test_options_are_named_without_what_all_begin_with():
    gain = Interval(median=1.1, low=1.0, high=1.2, processes=2)

    def loader(field: str, value: object, title: str) -> Lever:
        return Lever(id=f"{field}={value}", factor=field, title=title, loader={field: value})

    def named(*plans: Plan) -> set[str]:
        options = [TriedPlan(plan=plan.id, speedup=gain, dropped=False) for plan in plans]
        figure = steps_figure([SearchStep(factor="q", options=tuple(options), adopted=None)], plans)
        assert figure is not None
        return set(texts(figure))

    workers = Plan.of(loader("workers", 2, "2 workers"))
    four, eight = (workers.plus(loader("prefetch", n, f"{n} ahead")) for n in (4, 8))
    assert {"4 ahead", "8 ahead"} <= named(four, eight)
    assert "file_system" in named(workers.plus(loader("sharing", "file_system", "file_system")))
    assert {"2 workers", "4 ahead"} <= named(workers, four)


def test_no_search_and_no_noise_draw_nothing():
    assert search_steps(make_record(steps=())) is None
    assert noise_strips(make_record(noise=None)) is None


def test_no_ceilings_no_roofline_and_no_comparisons_no_gains():
    assert roofline(tuning(make_record(ceilings=()))) is None
    assert gains(make_record(comparisons=())) is None
    assert roofline(tuning(make_record()), "cuda:7") is None


def test_importing_is_cheap():
    """The CLI starts without matplotlib, and hwdiag.diagnose.report without drawing anything."""
    code = "import sys, hwdiag.diagnose.report, hwdiag.report.plots; print({'matplotlib', 'jinja2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_a_step_that_was_taken_again_is_drawn_once():
    """The example's figure had the same row of placements twice."""
    study = tuning(make_record())
    once, twice = (steps_figure(steps, study.plans) for steps in (study.steps, [*study.steps, *study.steps]))
    assert once is not None
    assert once == twice


def test_integers_have_no_flops():
    """The roof of int8 was given in GFLOP/s."""
    study = tuning(make_record())
    whole = [c.model_copy(update={"dtype": "int8"}) if c.kind == "compute" else c for c in study.ceilings]
    figure = roofline(study.model_copy(update={"ceilings": tuple(whole)}))
    assert figure is not None
    assert any(re.fullmatch(r"int8 [\d.]+ GOP/s", t) for t in texts(figure))
