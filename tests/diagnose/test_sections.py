"""Each section's sentence is drawn from the data, and says so where there is none."""

from __future__ import annotations

import pytest

from hwdiag.diagnose import sections
from hwdiag.process.model import Outcome
from hwdiag.record.model import NOT_PROBED, Record
from hwdiag.record.tuning import tuning
from tests.report.samples import changed, make_record

EMPTY = {
    "noise": None,
    **dict.fromkeys(
        ("steps", "measurements", "estimates", "comparisons", "ceilings", "findings", "recommendations"), ()
    ),
}
FROM_RECORD = [
    sections.machine,
    sections.software,
    sections.plan,
    sections.speeds,
    sections.ceilings,
    sections.threads,
    sections.noise,
    sections.search,
    sections.engines,
    sections.comparisons,
    sections.findings,
    sections.recommendations,
]


@pytest.fixture
def empty(record: Record) -> Record:
    dead = NOT_PROBED.model_copy(update={"outcome": Outcome(kind="signal", detail="killed by SIGILL")})
    return changed(record, **{**EMPTY, "software": dead, "verdict": "Nothing could be measured."})


@pytest.mark.parametrize("section", FROM_RECORD, ids=lambda f: f.__name__)
def test_a_sentence_comes_first_in_text_and_html(section, record, empty) -> None:
    for data in (record, empty):
        found = section(data)
        assert found.verdict.endswith(".")
        assert repr(found).startswith(found.verdict)
        assert found._repr_html_().startswith("<p ")
        assert "<strong>" in found._repr_html_()


def test_sentences_name_the_figures(record: Record) -> None:
    confirmed = next(c for c in tuning(record).comparisons if c.phase == "confirm" and c.verdict == "better")
    assert f"{confirmed.speedup.median:.2f}x" in sections.comparisons(record).verdict
    assert f"{sum(f.severity == 'warning' for f in record.findings)} warning" in sections.findings(record).verdict
    assert "% of its ceiling" in sections.speeds(record).verdict
    assert "thread" in sections.threads(record).verdict
    assert record.host.cpu.model in sections.machine(record).verdict


def test_the_search_and_its_noise_are_told_in_figures(record: Record) -> None:
    assert "13 %" in sections.noise(record).verdict
    assert "2.1 %" in sections.noise(record).verdict
    assert sections.search(record).verdict.startswith("3 other ways tried. ")
    assert sections.search(record).verdict.endswith("measured again: node0 (placement).")
    assert sections.engines(record).verdict.startswith("Of today's libraries torch.mm multiplies fastest")


def test_sentences_admit_what_is_not_there(empty: Record) -> None:
    assert sections.software(empty).verdict == "PyTorch does not run: killed by SIGILL."
    assert sections.speeds(empty).verdict == sections.NOTHING
    assert sections.ceilings(empty).verdict == sections.NOTHING
    assert sections.threads(empty).verdict == "Only one thread count was measured."
    assert sections.findings(empty).verdict.startswith("No finding;")


def test_what_may_be_used_is_said_beside_what_is_there() -> None:
    host = make_record().host
    limited = host.limits.model_copy(update={"allowed": host.cpu.online[:1], "cpu_quota": 1.5})
    record = make_record(host=host.model_copy(update={"limits": limited}))
    assert f"1 of its {len(host.cpu.online)} CPUs, for 1.5 CPUs worth of time." in sections.machine(record).verdict


def test_foreign_text_is_escaped(record: Record) -> None:
    page = sections.recommendations(record.model_copy(update={"verdict": "<script>alert(1)</script>."}))._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
