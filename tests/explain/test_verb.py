"""``hwdiag explain`` as a person types it: a command, a process, and what is no program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hwdiag.cli import main

pytestmark = pytest.mark.usefixtures("clean_environment")

HWDIAG = [sys.executable, "-m", "hwdiag", "explain"]


def explain(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HWDIAG, *words], capture_output=True, text=True, timeout=120, **more)  # type: ignore[call-overload, no-any-return]


def test_a_command_runs_once_and_keeps_its_output_input_and_exit_status(tmp_path: Path) -> None:
    program = "import sys; open('runs', 'a').write('x'); print(sys.stdin.readline().upper()); sys.exit(3)"
    done = explain("--out", str(tmp_path / "out"), "--", sys.executable, "-c", program, input="words\n", cwd=tmp_path)
    assert (done.stdout, done.returncode) == ("WORDS\n\n", 3)
    assert (tmp_path / "runs").read_text() == "x"
    assert "exit status 3" in done.stderr
    assert "Nothing wrong" not in done.stderr
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["complete"]
    assert record["studies"]["explain"]["program"]["ending"]["status"] == 3
    assert [f["id"] for f in record["findings"]]


def test_the_report_tells_it_again(tmp_path: Path) -> None:
    assert explain("--out", str(tmp_path), "--", sys.executable, "-c", "raise SystemExit(3)").returncode == 3
    assert main(["report", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "exit status 3" in page
    assert "The program" in page


def test_what_was_found_is_said_where_it_cannot_be_saved(tmp_path: Path) -> None:
    """The command is not run again for that."""
    (tmp_path / "outputs").write_text("no folder")
    env = {**os.environ, "HWDIAG_HOME": str(tmp_path)}
    done = explain("--", sys.executable, "-c", "import hwdiag_missing_module", env=env, cwd=tmp_path)
    assert done.returncode == 1
    assert "has no module hwdiag_missing_module" in done.stderr
    assert "Not saved: " in done.stderr
    assert "hwdiag/" not in done.stderr, "no traceback of its own"


def test_a_process_that_runs_is_looked_at_and_goes_on(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            done = explain("--out", str(tmp_path), "--seconds", "2", "--pid", str(process.pid))
            assert process.poll() is None
        finally:
            process.kill()
    assert done.returncode == 0
    assert f"PID {process.pid}" in done.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "explain what?"),
        (("--pid", "4194305"), "no process 4194305"),
        (("--pid", "1", "--", "true"), "either --pid or a command"),
        (("--", "/nowhere/python"), "cannot be started"),
    ],
)
def test_what_is_no_program_is_one_clear_line(words: tuple[str, ...], line: str, tmp_path: Path) -> None:
    done = explain("--out", str(tmp_path), *words)
    assert done.returncode != 0
    assert line in done.stderr
    assert "Traceback" not in done.stderr
