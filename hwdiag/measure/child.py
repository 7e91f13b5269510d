"""One child process: started under a Launch, waited for without burning a core, killed with all it started."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from hwdiag.measure.disturbance import Watch
from hwdiag.measure.launch import Launch
from hwdiag.measure.model import Disturbance, Outcome

WORKER = Path(__file__).with_name("worker.py")
STDERR_TAIL = 8192
"""Characters of standard error that are kept to tell why a child died."""

GRACE_S = 2.0
"""Seconds that a killed child's output is waited for."""

SIGNAL_MEANING = {
    "SIGILL": "illegal instruction: code built for another CPU",
    "SIGSEGV": "segmentation fault",
    "SIGBUS": "bus error",
    "SIGABRT": "aborted",
    "SIGFPE": "arithmetic error",
    "SIGKILL": "killed from outside, or out of memory",
}


@dataclass(frozen=True)
class ChildReport:
    """What one child said and how it ended."""

    outcome: Outcome
    events: tuple[dict[str, Any], ...]
    disturbance: Disturbance

    def event(self, name: str) -> dict[str, Any] | None:
        """The first event of this name without the name, None if it never came."""
        return next(({k: v for k, v in e.items() if k != "event"} for e in self.events if e["event"] == name), None)


def run_child(launch: Launch, python: str, task: dict[str, Any], *, timeout_s: float) -> ChildReport:
    """Run the worker under ``launch``, for at most ``timeout_s`` seconds. A child's death is a result, not an error.

    The child gets a process group of its own, which is killed whole when time is up, and on Ctrl-C.
    """
    argv = [*launch.binding(), python, str(WORKER)]
    watch = Watch()
    with tempfile.TemporaryFile("w+", errors="replace") as stderr:
        try:
            process = subprocess.Popen(
                argv,
                env=child_environment(launch),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            reason = error.strerror or str(error)
            return ChildReport(Outcome(kind="not-started", detail=f"{argv[0]}: {reason}"), (), watch.stop(None))
        output, timed_out = wait(process, json.dumps({"parent": os.getpid(), **task}), timeout_s)
        events = parse_events(output)
        outcome = classify(process.returncode, events, tail(stderr), timeout_s if timed_out else None, watch.ooms())
    cpu_s = events[-1].get("cpu_s") if events else None
    return ChildReport(outcome, events, watch.stop(cpu_s))


def child_environment(launch: Launch) -> dict[str, str]:
    """The inherited environment with the Launch's variables, the allocator in front of what is preloaded already."""
    inherited = {name: value for name, value in os.environ.items() if name not in launch.unset}
    env = {**inherited, **launch.environment()}
    if launch.allocator is not None:
        env["LD_PRELOAD"] = ":".join(filter(None, (launch.allocator.path, inherited.get("LD_PRELOAD"))))
    return env


def wait(process: subprocess.Popen[str], task: str, timeout_s: float) -> tuple[str, bool]:
    """Standard output of the child, and whether it ran out of time. Leaves nothing of its process group behind."""
    try:
        return process.communicate(task, timeout=timeout_s)[0], False
    except subprocess.TimeoutExpired:
        kill_group(process)
        # What left the process group may hold the pipe open: its words are not waited for.
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=GRACE_S)[0], True
        return "", True
    finally:
        kill_group(process)
        process.wait()


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill the child and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def parse_events(output: str) -> tuple[dict[str, Any], ...]:
    """The JSON lines; a last line that a killed child did not finish is dropped."""
    events = []
    for line in output.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            events.append(event)
    return tuple(events)


def tail(stderr: TextIO) -> str:
    """The end of what the child wrote to standard error."""
    stderr.flush()
    stderr.seek(0)
    return stderr.read()[-STDERR_TAIL:]


def classify(
    returncode: int, events: tuple[dict[str, Any], ...], stderr: str, timeout_s: float | None, ooms: int
) -> Outcome:
    """How the child ended, in one line that names what it was doing."""
    doing = next((e["workload"] for e in reversed(events) if e["event"] == "begin"), None)
    during = f" in {doing}" if doing else " before torch was imported"
    failed = next((e for e in events if e["event"] == "failed" and e["kind"] == "import-error"), None)
    if timeout_s is not None:
        return Outcome(kind="timeout", detail=f"no end after {timeout_s:.0f} s{during}: killed")
    if failed is not None:
        return Outcome(kind="import-error", detail=f"torch cannot be imported: {failed['detail']}")
    if returncode < 0:
        return died_of(-returncode, during, stderr, ooms)
    if returncode or not events or events[-1]["event"] != "end":
        return Outcome(kind="error", detail=f"exit status {returncode}{during}{last_line(stderr)}")
    return Outcome(kind="ok")


def died_of(number: int, during: str, stderr: str, ooms: int) -> Outcome:
    """The outcome of a child that a signal ended."""
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    if name == "SIGKILL" and ooms > 0:
        return Outcome(kind="out-of-memory", detail=f"killed by the kernel for want of memory{during}")
    meaning = f" ({SIGNAL_MEANING[name]})" if name in SIGNAL_MEANING else ""
    frame = re.search(r'File "([^"]+)", line (\d+) in (\S+)', stderr)  # faulthandler's innermost frame
    where = f"; last Python frame: {frame[3]}, {frame[1]}:{frame[2]}" if frame else ""
    return Outcome(kind="signal", detail=f"killed by {name}{meaning}{during}{where}")


def last_line(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return f": {lines[-1][:300]}" if lines else ""
