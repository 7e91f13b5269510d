"""What a run prints at its end: where everything is, the verdict, and what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hwdiag.diagnose.summary import RunSummary
from hwdiag.diagnose.verb import SHOWN, say
from hwdiag.record import store
from hwdiag.report.section import Section
from hwdiag.report.table import Table

EXAMPLE = Path(__file__).parents[2] / "outputs" / "example"


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


def test_where_the_program_sets_all_the_settings_are_named_and_no_launch_script() -> None:
    """The example ended with a launch script that sets nothing."""
    said = RunSummary(store.load(EXAMPLE), EXAMPLE).as_dict()
    assert said["launch"] is None
    assert said["settings"].endswith("outputs/example/scripts/settings.py")


def test_a_table_without_rows_is_not_shown() -> None:
    """The compare notebook had a table of differences with a header and nothing below it."""
    section = Section("They do not differ.", (Table("What differs", ("what", "kind"), ()),))
    assert "What differs" not in section._repr_html_()
    assert repr(section) == "They do not differ."
