"""Verifications as files: what was written is read again, and what is none is refused in one line."""

import json
from pathlib import Path

import pytest

from hwdiag.core.errors import UsageError
from hwdiag.record.verification import (
    MAX_BYTES,
    SEVERITY,
    VerdictCause,
    Verification,
    load_verification,
    save_verification,
    worst,
)

SLOWER = VerdictCause(id="slower.triad", status="CRITICAL", title="triad is 31 % slower", remedy="hwdiag explain")
CHANGED = VerdictCause(id="changed.kernel", status="WARNING", title="another kernel", remedy="measure again")
NOT_ASKED = VerdictCause(id="no-torch", status="UNKNOWN", title="no torch", remedy="--python PATH")
FOUND = Verification(
    status="CRITICAL",
    host="node7",
    hostname="node7",
    started_at="2026-12-01T08:00:00Z",
    seconds=4.5,
    version="0.1",
    record="/r/record.json",
    record_started_at="2026-11-01T08:00:00Z",
    causes=(SLOWER, CHANGED),
)


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = save_verification(FOUND, tmp_path / "new")
    assert load_verification(path) == load_verification(tmp_path / "new") == FOUND


def test_the_worst_cause_decides_and_is_told_first() -> None:
    assert worst(()) == "PASS"
    assert worst((NOT_ASKED,)) == "UNKNOWN"
    assert worst((NOT_ASKED, CHANGED)) == "WARNING"
    assert worst((CHANGED, SLOWER, NOT_ASKED)) == "CRITICAL"
    assert FOUND.line == "CRITICAL node7: triad is 31 % slower (and 1 more); hwdiag explain"


def test_exit_statuses_are_those_of_a_nagios_plug_in() -> None:
    statuses = {s: FOUND.model_copy(update={"status": s}).exit_status for s in SEVERITY}
    assert statuses == {"PASS": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}


def mangled(**values: object) -> str:
    return json.dumps({**FOUND.model_dump(mode="json"), **values})


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", mangled(schema_version=2), mangled(status="FINE"), mangled(extra=1), mangled(seconds=-1),
     mangled(host="x" * 10_000), " " * MAX_BYTES + mangled()],
)  # fmt: skip
def test_what_is_no_verification_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "verification.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        load_verification(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
