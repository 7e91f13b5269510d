"""Supervised processes: each ends as a whole, for one reason, and whoever asks is told at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from hwdiag.process.supervised import End, Supervised
from tests.process.test_agent import is_running, wait_until


def ended(*argv: str, timeout_s: float = 20, **more: object) -> End:
    with Supervised(argv, os.environ, timeout_s=timeout_s, **more) as supervised:  # type: ignore[arg-type]
        end = supervised.wait(60)
    assert end is not None
    return end


def test_it_is_told_why_and_how_it_ended() -> None:
    end = ended("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (end.why, end.returncode, end.stdout, end.stderr) == ("ended", 3, "out\n", "err\n")
    assert ended("sh", "-c", "kill -9 $$").returncode == -9
    assert ended("sleep", "60", timeout_s=0.5).why == "timeout"
    assert ended("yes", most_printed=1 << 20).why == "printed"
    gone = ended("/no/such/program")
    assert (gone.why, gone.error) == ("error", "/no/such/program: No such file or directory")


def test_of_what_it_prints_the_end_is_kept_in_bounded_memory() -> None:
    text = "import os\nfor n in range(100000): os.write(1, b'%06d ' % n)"
    end = ended(sys.executable, "-c", text, tail_bytes=700)
    assert end.stdout == "".join(f"{n:06d} " for n in range(99900, 100000))


def test_the_thread_that_started_it_may_end() -> None:
    found: list[Supervised] = []
    starter = threading.Thread(target=lambda: found.append(Supervised(["sleep", "600"], os.environ, say_pid=True)))
    starter.start()
    starter.join()
    with found[0] as supervised:
        time.sleep(0.5)
        assert supervised.wait(0) is None
        assert is_running(supervised.pid or 0)
    assert supervised.stop().why == "stopped"
    assert not is_running(supervised.pid or 0)


def test_orphans_are_reaped_while_it_runs() -> None:
    """A command that runs for days may leave many behind."""
    with Supervised(["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do (true & true); done; sleep 600"], os.environ) as long:
        time.sleep(1)
        below = psutil.Process(long.supervisor_pid).children(recursive=True)
        assert [p.status() for p in below if p.status() == psutil.STATUS_ZOMBIE] == []


def test_stopping_and_continuing_it_wakes_nobody() -> None:
    """Its supervisor sleeps meanwhile: others are measured then."""
    with Supervised(["sleep", "600"], os.environ, say_pid=True) as supervised:
        pid = supervised.pid
        time.sleep(0.3)
        supervisor = psutil.Process(supervised.supervisor_pid)
        before = supervisor.cpu_times()
        for _ in range(200):
            supervised.pause()
            supervised.resume()
        supervised.pause()
        wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        after = supervisor.cpu_times()
        assert after.user + after.system - before.user - before.system <= 0.02


@pytest.mark.parametrize("killed", [signal.SIGTERM, signal.SIGKILL])
def test_a_supervisor_that_is_killed_takes_it_along(killed: int) -> None:
    with Supervised(["sleep", "600"], os.environ, say_pid=True) as supervised:
        pid = supervised.pid or 0
        os.kill(supervised.supervisor_pid, killed)
        end = supervised.wait(20)
        assert end is not None
        assert end.why == ("stopped" if killed == signal.SIGTERM else "lost")
        wait_until(lambda: not is_running(pid))
        assert not is_running(pid)


def test_a_parent_that_is_killed_takes_all_of_it_along(tmp_path: Path) -> None:
    """Also what left the session, when its own parent has ended."""
    pids = tmp_path / "pids"
    daemon = (
        "import os, time\nos.fork() and time.sleep(600)\nos.setsid()\nos.fork() and os._exit(0)\n"
        f"open({str(pids)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    )
    argv = [sys.executable, "-c", daemon]
    code = f"import os\nfrom hwdiag.process.supervised import Supervised\nSupervised({argv!r}, os.environ).wait()"
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_until(lambda: pids.exists() and pids.read_text() != "")
    pid = int(pids.read_text())
    assert is_running(pid)
    parent.kill()
    parent.wait(10)
    wait_until(lambda: not is_running(pid))
    assert not is_running(pid)
