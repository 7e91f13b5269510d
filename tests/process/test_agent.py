"""Children that die, hang or cannot start: each gives one clear outcome, and nothing is left running."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from hwdiag.process.agent import Agent
from hwdiag.process.launch import Allocator, Launch
from hwdiag.process.software import probe_software
from hwdiag.process.supervised import child_environment

START = {"do": "measure.start", "device": "cpu", "seed": 1}
DEFAULT = Launch()

ILLEGAL = {"x86_64": b"\x0f\x0b", "aarch64": b"\x00\x00\x00\x00"}.get(platform.machine())
"""``ud2`` and ``udf``: instructions that no CPU has."""
RUN_ILLEGAL = f"""
import ctypes, mmap
page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write({ILLEGAL!r})
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
"""


def outcome(python: str, timeout_s: float = 30) -> tuple[str, str]:
    with Agent(python) as agent:
        ended = agent.once(START, timeout_s)
    return ended.kind, ended.detail


@pytest.mark.skipif(ILLEGAL is None, reason="no illegal instruction known for this architecture")
def test_an_illegal_instruction_is_named_with_the_frame_that_raised_it(fake_python: Callable[[str], str]) -> None:
    kind, detail = outcome(fake_python(RUN_ILLEGAL))
    assert kind == "signal"
    assert "SIGILL (illegal instruction" in detail
    assert "in import torch" in detail
    assert "torch/__init__.py:5" in detail


def test_a_segmentation_fault_is_named(fake_python: Callable[[str], str]) -> None:
    kind, detail = outcome(fake_python("import ctypes; ctypes.string_at(0)"))
    assert kind == "signal"
    assert "SIGSEGV" in detail


def test_a_kill_from_outside_is_not_called_out_of_memory(fake_python: Callable[[str], str]) -> None:
    kind, detail = outcome(fake_python("import os; os.kill(os.getpid(), 9)"))
    assert kind == "signal"
    assert "SIGKILL (killed from outside, or out of memory)" in detail


def test_a_hanging_child_is_killed_with_its_children(fake_python: Callable[[str], str], tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import subprocess, time; p = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(pid_file)!r}, 'w').write(str(p.pid)); time.sleep(600)"
    )
    started = time.monotonic()
    kind, detail = outcome(fake_python(code), timeout_s=2)
    assert kind == "timeout"
    assert "no answer for 2 s in import torch" in detail
    assert time.monotonic() - started < 10
    grandchild = int(pid_file.read_text())
    wait_until(lambda: not is_running(grandchild), seconds=3)  # a signal takes its time
    assert not is_running(grandchild)


def test_a_grandchild_that_left_the_group_cannot_hold_the_run(fake_python: Callable[[str], str]) -> None:
    code = "import os, time\nif os.fork() == 0:\n  os.setsid(); time.sleep(8); os._exit(0)\ntime.sleep(600)"
    started = time.monotonic()
    assert outcome(fake_python(code), timeout_s=1)[0] == "timeout"
    assert time.monotonic() - started < 6


def test_an_interpreter_without_torch_says_so(python_without_torch: str) -> None:
    kind, detail = outcome(python_without_torch)
    assert kind == "import-error"
    assert "No module named 'torch'" in detail


def test_a_file_that_is_no_program_is_not_started(tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_bytes(b"\x7fELF rubbish")
    path.chmod(0o755)
    assert outcome(str(path)) == ("not-started", f"{path}: Exec format error")
    assert outcome("/nonexistent/python")[0] == "not-started"


def test_an_exit_without_results_is_an_error_with_its_last_line(fake_python: Callable[[str], str]) -> None:
    kind, detail = outcome(fake_python("import sys, os; print('broken install', file=sys.stderr); os._exit(3)"))
    assert (kind, detail) == ("error", "exit status 3 in import torch: broken install")


def test_what_libraries_print_does_not_disturb_the_report(fake_python: Callable[[str], str]) -> None:
    with Agent(fake_python("print('{\"event\": \"end\"}'); raise ImportError('no'*3)")) as agent:
        agent.once(START, 30)
    assert [e["event"] for e in agent.events] == ["begin", "failed"]


def test_the_allocator_goes_in_front_of_what_is_preloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    launch = Launch(threads=3, allocator=Allocator(name="jemalloc", path="/lib/j.so"), env={"A": "b"})
    monkeypatch.setenv("LD_PRELOAD", "/lib/other.so")
    env = child_environment(launch)
    assert env["LD_PRELOAD"] == "/lib/j.so:/lib/other.so"
    assert (env["OMP_NUM_THREADS"], env["A"]) == ("3", "b")
    monkeypatch.delenv("LD_PRELOAD")
    assert child_environment(launch)["LD_PRELOAD"] == "/lib/j.so"
    assert "LD_PRELOAD" not in child_environment(DEFAULT)


def test_inherited_variables_are_taken_away_and_preloads_put_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    launch = Launch(unset=("ATEN_CPU_CAPABILITY",), preload=("/lib/first.so",))
    env = child_environment(launch.plus(Launch(allocator=Allocator(name="jemalloc", path="/lib/j.so"))))
    assert "ATEN_CPU_CAPABILITY" not in env
    assert env["LD_PRELOAD"].split(":")[:2] == ["/lib/first.so", "/lib/j.so"]
    assert child_environment(DEFAULT)["ATEN_CPU_CAPABILITY"] == "default"


@pytest.mark.parametrize("installed", [True, False], ids=["by taskset", "by our own stand-in"])
def test_cpus_are_bound_with_and_without_the_tools(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not installed:
        monkeypatch.setattr("hwdiag.process.supervised.shutil.which", lambda name: None)
    cpu = max(os.sched_getaffinity(0))
    with Agent(sys.executable, Launch(cpus=(cpu,))) as child:
        child.tell(START)
        assert child.hear(("applied",), 60) is not None, child.outcome()
        assert child.event("applied")["cpus"] == [cpu]  # type: ignore[index]
        assert "bind.py" not in " ".join(psutil.Process(child.pid).cmdline())  # it has made room for the agent


def test_a_child_answers_commands_rests_when_it_is_paused_and_ends_when_no_more_come() -> None:
    workload = {"name": "m", "kind": "matmul", "dtype": "float32", "size": {"n": 64}}
    with Agent(sys.executable) as child:
        child.tell(START)
        child.tell({"do": "measure.prepare", "workload": workload, "check": True, "warmup_s": 0.0})
        ready = child.hear(("ready", "failed"), 60)
        assert ready is not None, child.outcome()
        assert ready["max_error"] < 1e-5
        child.pause()
        child.tell({"do": "measure.sample", "seconds": 0.01, "min_samples": 3})
        wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_STOPPED)
        time.sleep(0.2)
        assert len(child.events) == 4
        child.resume()
        window = child.hear(("window",), 60)
        assert window is not None
        assert len(window["seconds"]) >= 3
        assert not window["stopped"], "it rested between two windows"
        assert child.finish(60).ok
        assert child.event("end") is not None
        assert child.hear(("window",), 1) is None


def test_a_child_that_somebody_stops_within_a_window_says_so() -> None:
    workload = {"name": "m", "kind": "matmul", "dtype": "float32", "size": {"n": 1024}}
    with Agent(sys.executable) as child:
        child.tell(START)
        child.tell({"do": "measure.prepare", "workload": workload, "check": False, "warmup_s": 0.0})
        assert child.hear(("ready", "failed"), 60) is not None, child.outcome()
        used = psutil.Process(child.pid).cpu_times().user
        child.tell({"do": "measure.sample", "seconds": 1.0, "min_samples": 100})
        wait_until(lambda: psutil.Process(child.pid).cpu_times().user > used + 0.1)
        child.pause()
        wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_STOPPED)
        child.resume()
        window = child.hear(("window",), 60)
        assert window is not None
        assert window["stopped"], "somebody stopped it within one"
        assert child.finish(60).ok


@pytest.mark.parametrize("ended_by", ["SIGINT", "SIGKILL"])
def test_no_child_outlives_its_parent(fake_python: Callable[[str], str], tmp_path: Path, ended_by: str) -> None:
    """Ctrl-C, and even a parent that is killed, take the measuring child with them."""
    pid_file = tmp_path / "pid"
    python = fake_python(f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    code = f"from hwdiag.process.software import probe_software; probe_software({python!r})"
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    wait_until(lambda: pid_file.exists() and pid_file.read_text() != "")
    child = int(pid_file.read_text())
    assert is_running(child)
    parent.send_signal(getattr(__import__("signal"), ended_by))
    parent.wait(10)
    wait_until(lambda: not is_running(child))
    assert not is_running(child)


def test_the_real_software_is_described() -> None:
    software = probe_software(sys.executable)
    assert software.outcome.ok, software.outcome.detail
    assert software.python_version == platform.python_version()
    assert (software.threads or 0) >= 1
    assert software.torch_version
    assert "openmp" in {p.api for p in software.pools}
    assert Path(software.torch_path or "").is_dir()


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
