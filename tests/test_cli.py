"""The command line as a person meets it: real processes, wrong input, interruptions, a full disk."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from hwdiag.core.home import home
from hwdiag.record import store
from hwdiag.record.tuning import tuning
from tests.record.test_store import make_record

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own: params as they are, nothing in outputs."""
    shutil.copytree(home() / "params", tmp_path / "home" / "params")
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def hwdiag(*args: str, **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hwdiag", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **more)  # type: ignore[call-overload,no-any-return]


def test_help_names_every_verb_and_an_example() -> None:
    text = hwdiag("--help").stdout
    for word in (
        "host",
        "snapshot",
        "run",
        "diagnose",
        "report",
        "init-host",
        "examples:",
        "Nothing here changes the host",
    ):
        assert word in text
    for verb in ("host", "snapshot", "run", "diagnose", "report", "init-host"):
        assert f"usage: hwdiag {verb}" in hwdiag(verb, "--help").stdout


def test_a_verb_has_its_topics_name_and_may_have_another() -> None:
    for other, verb in (("check", "compat"), ("feed", "dataloader")):
        assert f"usage: hwdiag {verb} " in hwdiag(other, "--help").stdout


def test_host_as_table_and_as_json() -> None:
    facts = json.loads(hwdiag("host", "--json").stdout)
    assert facts["system"]["arch"] == os.uname().machine
    table = hwdiag("host").stdout
    assert facts["system"]["kernel"] in table
    assert "Instruction set" in table


def test_a_closed_pipe_is_no_error() -> None:
    shell = f"{sys.executable} -m hwdiag host --json | head -n 1"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("{\n", "")


def test_wrong_usage_is_one_line_and_status_2(workshop: Path) -> None:
    """In a process of its own; ``test_wrong_usage.py`` has them all."""
    done = hwdiag("run", "--set", "thraeds=4")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown parameter 'thraeds': did you mean \"threads\"?" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (workshop / "outputs").exists()


def test_an_interpreter_without_torch_leaves_the_facts_and_status_1(workshop: Path, python_without_torch: str) -> None:
    done = hwdiag("run", "--python", python_without_torch, "--json")
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["measured"]) == (1, False)
    assert "No module named 'torch'" in summary["verdict"]
    record = store.load(workshop / summary["record"])
    assert record.findings[0].id == "torch-does-not-run"
    assert record.host.cpu.online
    report = (workshop / summary["report"]).read_text()
    assert "No module named &#39;torch&#39;" in report


def test_a_torch_that_dies_is_a_row_in_the_report(workshop: Path, fake_python: Callable[[str], str]) -> None:
    done = hwdiag("run", "--python", fake_python("import ctypes; ctypes.string_at(0)"), "--json")
    assert done.returncode == 1
    assert "SIGSEGV" in (workshop / json.loads(done.stdout)["report"]).read_text()


def test_an_output_folder_that_cannot_be_written_stops_at_once(workshop: Path) -> None:
    (workshop / "outputs").touch()
    for verb in ("run", "diagnose"):
        done = hwdiag(verb)
        assert done.returncode == 1
        assert "cannot write to" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_full_disk_leaves_no_record(workshop: Path, python_without_torch: str) -> None:
    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    done = hwdiag("run", "--python", python_without_torch, preexec_fn=small_files_only)
    assert done.returncode == 1
    *before, last = done.stderr.splitlines()
    assert "cannot write" in last
    assert all("% " in line for line in before), "nothing but progress"
    assert not list(workshop.rglob("record.json"))


@pytest.fixture
def hanging(fake_python: Callable[[str], str], tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A run whose child hangs in ``import torch``: the process and the child's pid."""
    pid_file = tmp_path / "pid"
    python = fake_python(f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    command = [sys.executable, "-m", "hwdiag", "run", "--python", python]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process, wait_for_pid(pid_file)
    process.kill()


def wait_for_pid(file: Path) -> int:
    """The process id that a child writes when it is there."""
    deadline = time.monotonic() + 120
    while not (file.exists() and file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return int(file.read_text())


def test_ctrl_c_leaves_no_child_and_no_folder(workshop: Path, hanging: tuple[subprocess.Popen[str], int]) -> None:
    process, child = hanging
    assert psutil.pid_exists(child)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors == "hwdiag: interrupted; nothing is left running\n"
    assert not psutil.pid_exists(child)
    assert not any(path.is_dir() for path in (workshop / "outputs").glob("*/*"))


def test_report_draws_a_record_again(tmp_path: Path) -> None:
    record = make_record(verdict="Keep <what> you have.")
    store.save(record, tmp_path)
    done = hwdiag("report", str(tmp_path), "--output", str(tmp_path / "again.html"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("Keep <what> you have.")
    assert "Keep &lt;what&gt; you have." in (tmp_path / "again.html").read_text()
    assert json.loads(hwdiag("report", str(tmp_path), "--json").stdout)["verdict"] == record.verdict


def test_init_host_then_run_with_it(workshop: Path, python_without_torch: str) -> None:
    assert hwdiag("init-host", "my-box").stdout == f"wrote {workshop}/params/my-box.yaml\n"
    summary = json.loads(hwdiag("run", "--host", "my-box", "--python", python_without_torch, "--json").stdout)
    record = store.load(workshop / summary["record"])
    assert summary["record"].startswith("outputs/my-box/")
    assert not [f for f in record.findings if f.id.startswith("unexpected-")]
    assert "expected-hardware" in {c.id for c in record.checks}


def test_ctrl_c_takes_the_notebooks_kernel_and_its_child_too(
    workshop: Path, fake_python: Callable[[str], str], tmp_path: Path
) -> None:
    """A terminal's Ctrl-C reaches hwdiag and the kernel that papermill started; the measuring child is the kernel's."""
    (workshop / "notebooks").mkdir()
    shutil.copy(Path(__file__).parents[1] / "notebooks" / "diagnose.ipynb", workshop / "notebooks")
    pid_file = tmp_path / "pid"
    python = fake_python(f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    command = [sys.executable, "-m", "hwdiag", "diagnose", "--python", python]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        child = wait_for_pid(pid_file)
        kernel = psutil.Process(child).ppid()
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "hwdiag: interrupted; nothing is left running"
    psutil.wait_procs([psutil.Process(p) for p in (child, kernel) if psutil.pid_exists(p)], timeout=10)
    assert not psutil.pid_exists(child)
    assert not psutil.pid_exists(kernel)
    assert not list((workshop / "outputs").glob("*/*"))


def test_a_snapshot_shows_elsewhere_what_needs_no_measurement(workshop: Path, tmp_path: Path) -> None:
    file = tmp_path / "spark.tar.gz"
    said = hwdiag("snapshot", str(file)).stdout
    assert said == f"wrote {file}: {file.stat().st_size / 1000:.0f} kB, without names and serial numbers\n"
    facts = json.loads(hwdiag("host", "--json", "--snapshot", str(file)).stdout)
    assert (facts["source"], facts["system"]["kernel"]) == ("snapshot", os.uname().release)
    assert os.uname().nodename != facts["system"]["hostname"]

    done = hwdiag("run", "--snapshot", str(file), "--json")
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["measured"], summary["launch"]) == (0, False, None)
    assert summary["verdict"].endswith("read from a snapshot: nothing was measured on this machine.")
    assert summary["record"].startswith("outputs/spark/")
    record = store.load(workshop / summary["record"])
    assert (tuning(record).measurements, record.recommendations) == ((), ())
    unchecked = {c.id for c in record.checks if (c.state, c.detail) == ("unchecked", "not measured on this machine")}
    assert {"torch", "speeds", "launches", "ceilings"} <= unchecked
    assert not list((workshop / "outputs").rglob("launch*.sh"))
    assert "not measured on this machine" in (workshop / summary["report"]).read_text()


@pytest.mark.parametrize("verb", ["host", "run", "diagnose"])
def test_a_snapshot_that_is_none_stops_at_once(workshop: Path, tmp_path: Path, verb: str) -> None:
    (tmp_path / "x").write_text("no archive")
    for name, message in (("x", "cannot be read"), ("nowhere", "there is no snapshot")):
        done = hwdiag(verb, "--snapshot", str(tmp_path / name))
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
        assert message in done.stderr
    assert not list(workshop.rglob("record.json"))
