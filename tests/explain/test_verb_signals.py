"""``hwdiag explain`` and Ctrl-C: it ends within three seconds, with exit status 130 and nothing left.

A machine that is busy with other tests gets five.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.test_command import nap

__all__ = ["nap"]


def explain(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "hwdiag", "explain", "--out", str(folder), "--", *command]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def interrupted(process: subprocess.Popen[bytes], word: bytes) -> tuple[int, float]:
    assert process.stdout is not None
    assert word in process.stdout.readline()
    time.sleep(0.3)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    return process.returncode, time.monotonic() - start


def test_ctrl_c_ends_a_command_that_never_ends(tmp_path: Path, nap: Callable[[], str]) -> None:
    status, took = interrupted(explain(tmp_path, "sh", "-c", f"echo begins; {nap()}"), b"begins")
    assert status == 130
    assert took < 5


def test_ctrl_c_ends_one_that_does_not_want_to_end(tmp_path: Path, nap: Callable[[], str]) -> None:
    stubborn = f"trap '' INT TERM; echo begins; {nap()}; {nap()}"
    status, took = interrupted(explain(tmp_path, "sh", "-c", stubborn), b"begins")
    assert status == 130
    assert took < 5


@pytest.mark.parametrize("library", ["_pydantic_core", "_multiarray_umath"])
def test_ctrl_c_while_hwdiag_itself_starts(tmp_path: Path, nap: Callable[[], str], library: str) -> None:
    """At moments of its own imports; Python's start before them is not hwdiag's."""
    process = explain(tmp_path, *nap().split())
    maps = Path(f"/proc/{process.pid}/maps")
    while library not in maps.read_text():
        time.sleep(0.005)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode in (130, -signal.SIGINT), said  # which a shell tells as 130, too
    assert b"Traceback" not in said
    assert time.monotonic() - start < 5
