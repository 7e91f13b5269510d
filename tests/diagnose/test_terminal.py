"""What a run prints at its end: where everything is, the verdict, and what was found."""

from __future__ import annotations

from typing import Any

import pytest

from hwdiag.diagnose.verb import SHOWN, say


def summary(*findings: str) -> dict[str, Any]:
    return {"verdict": "Keep what you have.", "report": "outputs/x/report.html", "record": "outputs/x/record.json",
            "launch": None, "findings": list(findings), "source": "live", "measured": True}  # fmt: skip


def test_the_titles_of_findings_are_printed_below_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """Only the verdict was printed, and a warning stood in the report alone."""
    assert say(summary("warning: OMP_NUM_THREADS=1 keeps PyTorch to 1 of 2 CPUs"), as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["Keep what you have.", "  warning: OMP_NUM_THREADS=1 keeps PyTorch to 1 of 2 CPUs"]
    assert not any(line.startswith("findings") for line in lines)


def test_many_findings_end_in_a_count(capsys: pytest.CaptureFixture[str]) -> None:
    say(summary(*(f"note: {n}" for n in range(SHOWN + 3))), as_json=False)
    assert capsys.readouterr().out.splitlines()[-1] == "  and 3 more, in the report"
