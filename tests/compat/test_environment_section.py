"""The section on variables shows those that were judged to mislead, and what was judged where none does."""

from __future__ import annotations

from hwdiag.compat import show
from hwdiag.compat.model import Interpreter, Survey
from hwdiag.core.finding import Check, Finding
from hwdiag.process.model import Outcome
from hwdiag.process.preflight import preflight
from tests.conftest import make_host


def surveyed(environment: dict[str, str], *, judged: bool = True) -> Survey:
    answers = preflight(make_host(), environment=environment) if judged else ()
    return Survey(
        started_at="",
        seconds=1,
        interpreter=Interpreter(python="p", outcome=Outcome(kind="ok")),
        environment=environment,
        findings=tuple(a for a in answers if isinstance(a, Finding)),
        checks=tuple(a for a in answers if isinstance(a, Check)),
    )


def test_what_is_in_order_is_not_worth_a_look() -> None:
    """OMP_THREAD_LIMIT, ONEDNN_VERBOSE=0 and the like were listed whatever their value was."""
    section = show.environment(surveyed({"ONEDNN_VERBOSE": "0", "OMP_THREAD_LIMIT": "4"}))
    assert section.verdict == "2 inherited variables of numeric libraries judged by value: none misleads them."


def test_what_misleads_is_shown_with_its_effect() -> None:
    section = show.environment(surveyed({"OMP_THREAD_LIMIT": "1", "ONEDNN_VERBOSE": "0"}))
    assert section.verdict.startswith("1 inherited variable worth a look")
    (table,) = section.parts
    assert "caps OpenMP at 1 thread" in str(table)
    assert "ONEDNN_VERBOSE" not in str(table)


def test_an_old_record_that_was_not_judged_is_shown_as_before() -> None:
    section = show.environment(surveyed({"ONEDNN_VERBOSE": "1"}, judged=False))
    assert section.verdict.startswith("1 inherited variable worth a look")
