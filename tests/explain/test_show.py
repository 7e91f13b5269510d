"""Shares of the time, the verdict, and what to try next, of programs with known answers."""

from __future__ import annotations

from hwdiag.core.finding import Check, Finding
from hwdiag.explain import show
from hwdiag.explain.explain import explain
from hwdiag.explain.model import Case, Explanation
from hwdiag.explain.next_steps import next_steps
from hwdiag.explain.shares import shares
from hwdiag.process.model import Outcome
from hwdiag.process.observation.inside_model import InsideReport, ThreadActivity
from hwdiag.process.observation.waiting_model import TrainingWaits
from tests.conftest import make_host
from tests.explain.observed import ending, process, program

WAITED = TrainingWaits(
    pid=100, words="python train.py", workers=2, seconds=10, looks=400, low=0.1, high=0.3, for_a_cpu=0.5,
    shares={"computes": 0.8, "data": 0.2},
)  # fmt: skip
LOOP = ThreadActivity(
    thread="main", looks=500, seconds=8, shares={"input": 0.6, "model": 0.3, "input: read (a.py:3)": 0.1}, low=0.6,
    high=0.8,
)  # fmt: skip


def told(**more: object) -> list[tuple[str, float]]:
    case = Case(make_host(), program(process(), **more))
    return [(s.what, round(s.share, 3)) for s in shares(case)]


def test_waiting_for_a_cpu_is_not_running() -> None:
    assert told(waits=(WAITED,)) == [
        ("waiting for a CPU", 0.5),
        ("running", 0.3),
        ("waiting for data from its workers", 0.2),
    ]


def test_what_was_seen_from_inside_goes_before_what_was_seen_from_outside() -> None:
    inside = InsideReport(pid=100, command=("python", "train.py"), state="nothing", torch="2.13", activities=(LOOP,))
    assert told(waits=(WAITED,), inside=(inside,)) == [
        ("loading data in its own process (a DataLoader without workers)", 0.6),
        ("computing the forward pass of its net", 0.3),
        ("loading data in read (a.py:3)", 0.1),
    ]


def explanation(*findings: Finding, checks: tuple[Check, ...] = ()) -> Explanation:
    seen = program(process())
    return Explanation(
        started_at="2026-11-30T00:00:00Z", program=seen, shares=(), findings=findings, checks=checks, next_steps=()
    )


def test_the_verdict_is_the_worst_finding_or_how_much_was_looked_at() -> None:
    one = Finding(id="a", severity="warning", title="It may use 1 of 8 CPUs", detail="")
    other = Finding(id="b", severity="note", title="Another", detail="")
    assert show.verdict(explanation(one, other)) == "python train.py: It may use 1 of 8 CPUs. 1 more finding below."
    checks = (Check(id="c", state="fine", title="c"), Check(id="d", state="unchecked", title="d", detail="no"))
    assert show.verdict(explanation(checks=checks)) == (
        "python train.py: nothing wrong in 1 thing that was looked at; 1 question could not be asked."
    )


def test_a_finding_is_a_paragraph_that_fits_the_terminal() -> None:
    long = Finding(id="a", severity="problem", title="title " * 20, detail="unset OMP_NUM_THREADS " * 10)
    text = show.findings_text(explanation(long), 60)
    assert max(map(len, text.splitlines())) <= 60
    assert text.startswith("1. problem: title")


def test_what_died_of_its_code_is_checked_and_what_ran_is_tuned() -> None:
    died = program(process(), ending=ending(-4, outcome=Outcome(kind="signal", detail="killed by SIGILL")))
    assert [s.command for s in next_steps(Case(make_host(), died), ())] == [
        "hwdiag check --python /opt/venv/bin/python3.11"
    ]
    ran = Case(make_host(), program(process()))
    assert next_steps(ran, ())[0].command == "hwdiag tune -- python train.py"
    slow = Finding(id="input-bound", severity="warning", title="", detail="")
    assert next_steps(ran, (slow,))[0].command.startswith("hwdiag dataloader")


def test_all_probes_answer_a_program_of_which_nothing_was_seen() -> None:
    seen = program()
    done = explain(seen, make_host())
    assert {c.state for c in done.checks} >= {"unchecked"}
    assert "nothing wrong" not in show.verdict(done) or "could not be asked" in show.verdict(done)
