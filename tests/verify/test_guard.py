"""The verdict is there in time, whatever the child does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from hwdiag.parameters.verify import VerifyParams
from hwdiag.record.verification import VerdictCause, Verification
from hwdiag.verify.guard import INNER, guarded

LOST = VerdictCause(id="lost.memory", status="CRITICAL", title="4 GiB are gone", remedy="look")
FACTS = Verification(
    status="CRITICAL", host="n", hostname="n", started_at="2026-12-01T00:00:00Z", seconds=1, version="1", causes=(LOST,)
)


def child(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import json, sys, time, os\n{code}")


def say(**line: object) -> str:
    return f"print({json.dumps(json.dumps(line))}, flush=True)\n"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (say(doing="reading the record /mnt/dead") + "time.sleep(60)", "the record /mnt/dead took longer than 1 s"),
        ("import signal; signal.signal(15, signal.SIG_IGN); time.sleep(60)", "starting Python took longer"),
        (say(doing="measuring") + "os.kill(os.getpid(), 11)", "measuring: its child ended without a word"),
        ("sys.exit('ImportError: no pydantic')", "no pydantic"),
        ("print('hello')", "damaged"),
        ("print('[1]')", "damaged"),
        (say(done={"status": "FINE"}), "damaged"),
        ("while True: sys.stdout.write('x' * 65536)", "its answer has no end"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_unknown_in_one_line(code: str, told: str) -> None:
    hangs, began = "took longer" in told, time.monotonic()
    found = guarded(VerifyParams(timeout=1 if hangs else 30), child(code))
    assert found.status == "UNKNOWN"
    assert told in found.line
    assert "\n" not in found.line
    assert time.monotonic() - began < 5 or not hangs


def test_a_busy_machine_is_not_called_a_hanging_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(load: float) -> str:
        monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
        return guarded(VerifyParams(timeout=0.5), child("time.sleep(60)")).line

    assert "load average is 99.0" in (line := asked(99.0))
    assert "while nothing else runs" in line
    assert "look what hangs" in (line := asked(0.0))
    assert "load" not in line


def test_what_the_facts_gave_stays_where_the_rest_hangs() -> None:
    facts = json.loads(FACTS.model_dump_json())
    found = guarded(VerifyParams(timeout=1), child(say(facts=facts) + say(doing="measuring") + "time.sleep(60)"))
    assert [c.status for c in found.causes] == ["CRITICAL", "UNKNOWN"]
    assert found.status == "CRITICAL"
    assert "4 GiB are gone (and 1 more)" in found.line


def test_what_cannot_be_started_is_unknown() -> None:
    assert "could not start" in guarded(VerifyParams(timeout=1), ("/nowhere/python",)).line


def test_the_child_ends_with_whoever_waits_for_it() -> None:
    asked = VerifyParams(record="/nowhere", timeout=600).model_dump_json()
    code = "import sys, time, hwdiag.verify.inner as i; i.verify = lambda *a: time.sleep(600); i.main()"
    pipe = subprocess.PIPE
    with subprocess.Popen([*INNER[:1], "-c", code], stdin=pipe, stdout=pipe, stderr=pipe) as running:
        assert running.stdin is not None
        running.stdin.write(asked.encode() + b"\n")
        running.stdin.flush()
        assert psutil.pid_exists(running.pid)
        running.stdin.close()
        assert running.wait(30) == 1
    assert os.getpid() != running.pid
