"""What disturbed a measurement is told where the kernel counts it, and unknown where it does not."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

from hwdiag.process import disturbance, measuring_lock
from hwdiag.process.disturbance import Watch


def test_a_busy_neighbour_is_seen() -> None:
    watch = Watch()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(1.0)
        seen = watch.stop(child_cpu_s=0.0)
    finally:
        busy.kill()
        busy.wait()
    assert seen.other_cpu is not None
    assert seen.other_cpu > 0.3
    assert seen.steal is None or 0 <= seen.steal <= 1


def test_the_childs_own_time_is_not_a_disturbance() -> None:
    watch = Watch()
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass
    seen = watch.stop(child_cpu_s=1000.0)
    assert seen.other_cpu == 0.0


def test_a_kernel_that_tells_nothing_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise FileNotFoundError("/proc/stat")

    for name in ("cpu_times", "swap_memory", "cpu_freq", "getloadavg"):
        monkeypatch.setattr(psutil, name, missing)
    monkeypatch.setattr(disturbance, "read_throttled_s", lambda _: None)
    seen = Watch().stop(child_cpu_s=1.0)
    assert set(seen.model_dump(exclude={"other_run", "suspended_s", "stopped_windows"}).values()) <= {None, ()}


HOLD = "from hwdiag.process.measuring_lock import held; print(held() is not None, flush=True); input()"


def test_another_run_that_measures_is_seen() -> None:
    if measuring_lock.held() is None:
        pytest.skip("no folder for a lock here")
    other = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdin is not None
    assert other.stdout is not None
    with other:
        assert other.stdout.readline() == "True\n"
        watch = Watch()
        assert measuring_lock.another_measures()
        other.stdin.close()
        other.wait()
        assert watch.stop(child_cpu_s=0.0).other_run, "it was there at the beginning"
    assert measuring_lock.held() is not None


@pytest.mark.parametrize(("minutes", "ends"), [(1, True), (0.02, False)])
def test_a_run_waits_for_another_as_long_as_it_may(monkeypatch: pytest.MonkeyPatch, minutes: float, ends: bool) -> None:
    name = f"hwdiag-test-{os.getpid()}.lock"  # other tests measure meanwhile
    monkeypatch.setattr(measuring_lock, "NAME", name)
    monkeypatch.setattr(measuring_lock, "held", functools.cache(measuring_lock.held.__wrapped__))
    if measuring_lock.held() is None:
        pytest.skip("no folder for a lock here")
    hold = f"import hwdiag.process.measuring_lock as m; m.NAME = '{name}'; {HOLD}"
    other = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdin is not None
    assert other.stdout is not None
    said: list[str] = []
    with other:
        assert other.stdout.readline() == "True\n"
        end = threading.Timer(0.3 if ends else 20, other.kill)
        end.start()
        measuring_lock.wait_for_others(minutes, said.append)
        assert measuring_lock.another_measures() is not ends
        end.cancel()
        other.kill()
    assert "waiting for its end" in said[0]
    assert ["goes on measuring" in text for text in said[1:]] == ([] if ends else [True])


def test_a_machine_that_slept_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    assert watch.stop(child_cpu_s=0.0).suspended_s == 0
    before = disturbance.slept_s()
    monkeypatch.setattr(disturbance, "slept_s", lambda: before + 20)
    assert watch.stop(child_cpu_s=0.0).suspended_s == pytest.approx(20, abs=0.2)
