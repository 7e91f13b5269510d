"""A command of the user's own as workload: every run is a fresh process under its Launch, and nothing outlives it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwdiag.process.child import binding, child_environment, died_of, last_line, parse_any
from hwdiag.process.launch import Launch
from hwdiag.process.model import Applied, Command, Outcome
from hwdiag.process.verify import not_applied

KEEPER = Path(__file__).with_name("supervisor.py")
GRACE_S = 15.0
"""Seconds, beyond its time-out, for the keeper to kill what is left and to say so."""
WANTS_TERMINAL = re.compile(
    r"not a (?:tty|terminal)|inappropriate ioctl|/dev/tty|EOF when reading|EOFError|input is not from a terminal"
    r"|terminal (?:is )?required|cbreak\(\)|setupterm|error opening terminal",
    re.IGNORECASE,
)
"""What programs say that find no terminal: Python's input(), getpass, sudo, ssh, curses, stty, vi."""


class MetricError(Exception):
    """The command ended well, but its metric is not there, or is no number above 0."""


@dataclass(frozen=True)
class Ran:
    """One run of a command."""

    outcome: Outcome
    value: float | None = None
    """Of its metric, or its wall time in seconds."""
    began: float = 0.0
    ended: float = 0.0
    """On the monotonic clock."""
    applied: Applied | None = None
    cpu_s: float | None = None
    peak_rss_bytes: int | None = None
    status: int | None = None
    """Its exit status, or minus the signal that ended it; None if it never ran, or had to be killed."""


class Running:
    """A command at work. Use it in a ``with`` statement: nothing of it outlives that."""

    def __init__(self, command: Command, launch: Launch, stdio: tuple[int, int, int] | None = None) -> None:
        """Start it. Start several from one thread: they are killed when that ends.

        ``stdio``: files that become its standard input, output and error. Without, it has no input, and ``wait`` tells
        how it ended by the end of what it printed.
        """
        self.command, self.launch = command, launch
        passed = [os.dup(file) for file in stdio or ()]  # 0 to 2 are the keeper's own
        self._keeper = subprocess.Popen(
            [sys.executable, "-IS", str(KEEPER), "keep"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            pass_fds=passed,
            env={k: v for k, v in os.environ.items() if k != "LD_PRELOAD"},
        )
        task = {"parent": os.getpid(), "bind": binding(launch), "argv": command.argv, "env": child_environment(launch)}
        self._tell({**task, "timeout_s": command.timeout_s, "stdio": passed})
        for file in passed:
            os.close(file)

    def _tell(self, what: dict[str, Any]) -> None:
        assert self._keeper.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it ended, or is waited for: ``wait`` finds out how
            self._keeper.stdin.write(json.dumps(what) + "\n")
            self._keeper.stdin.flush()

    @property
    def pid(self) -> int:
        """Of the process that watches over the command, below which all that it starts is found."""
        return self._keeper.pid

    def signal(self, number: int) -> None:
        """Hand a signal on to the command and its process group."""
        self._tell({"signal": int(number)})

    def fileno(self) -> int:
        """A file that can be read from as soon as it has ended."""
        assert self._keeper.stdout is not None
        return self._keeper.stdout.fileno()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self._keeper.poll() is None:
            self._keeper.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._keeper.communicate(timeout=GRACE_S)
            self._keeper.kill()
        self._keeper.wait()

    def wait(self) -> Ran:
        """Its end, at the latest that of its time-out."""
        try:
            limit = self.command.timeout_s
            said, _ = self._keeper.communicate(timeout=limit + GRACE_S if limit else None)
        except subprocess.TimeoutExpired:
            return Ran(Outcome(kind="timeout", detail="the command cannot be killed: the kernel holds it"))
        told = parse_any(said)
        if told is None:
            return Ran(Outcome(kind="error", detail="what watches over the command was killed"))
        return read(told, self.command, self.launch)


def read(told: dict[str, Any], command: Command, launch: Launch) -> Ran:
    """What the keeper's words mean."""
    start = [parse_any(line) or {} for line in told.get("start", "").splitlines()]
    seen = next((s for s in start if "applied" in s), None)
    applied = None if seen is None else Applied.model_validate(seen["applied"])
    outcome = outcome_of(told, start, applied, command, launch)
    value, began, ended = None, 0.0, 0.0
    if seen is not None and "ended_at" in told:
        began, ended = seen["at"], told["ended_at"]
    if outcome.ok:
        try:
            value = metric(command, told["stdout"], told["stderr"], ended - began)
        except MetricError as error:
            outcome = Outcome(kind="error", detail=str(error))
    status = None if told["timed_out"] else told.get("returncode")
    return Ran(outcome, value, began, ended, applied, told.get("cpu_s"), told.get("peak_rss_bytes"), status)


def outcome_of(
    told: dict[str, Any], start: Sequence[dict[str, Any]], applied: Applied | None, command: Command, launch: Launch
) -> Outcome:
    """How it ended, in one line."""
    error = told.get("error") or next((s["error"] for s in start if "error" in s), None)
    if error:
        return Outcome(kind="not-started", detail=f"the command cannot be started: {error}")
    if told["timed_out"]:
        return Outcome(kind="timeout", detail=f"no end after {command.timeout_s:.0f} s: killed, with all it started")
    stdout, stderr, status = told["stdout"], told["stderr"], told["returncode"]
    if applied is None:
        return Outcome(kind="not-applied", detail=f"the binding failed with exit status {status}{last_line(stderr)}")
    refused = not_applied(launch.model_copy(update={"threads": None}), applied)  # only torch could tell of threads
    if refused:
        return Outcome(kind="not-applied", detail=refused)
    if status < 0:
        return died_of(-status, " in the command", stderr)
    if status:
        hint = " (it wants a terminal, and has none here)" if WANTS_TERMINAL.search(stderr or stdout) else ""
        return Outcome(kind="error", detail=f"exit status {status}{last_line(stderr or stdout)}{hint}")
    return Outcome(kind="ok")


def metric(command: Command, stdout: str, stderr: str, wall_s: float) -> float:
    """The number that counts. Raises ``MetricError`` where there is none above 0."""
    if command.metric is not None:
        matches = re.findall(command.metric, stdout) or re.findall(command.metric, stderr)
        if not matches:
            raise MetricError(f"it prints nothing that matches {command.metric!r}{last_line(stdout or stderr)}")
        found: Any = matches[-1]
    elif command.metric_json is not None:
        found = field(stdout, command.metric_json)
    else:
        found = wall_s
    try:
        value = float("no" if isinstance(found, bool) else found)
    except (TypeError, ValueError):
        raise MetricError(f"its metric is no number: {str(found)[:100]!r}") from None
    if not (math.isfinite(value) and value > 0):
        raise MetricError(f"its metric is {value:g}: comparing needs a number above 0")
    return value


def field(stdout: str, path: str) -> Any:
    """A field of the JSON that is printed: all of the output, or the last line that has it."""
    for text in (stdout, *reversed(stdout.splitlines())):
        found: Any = parse_any(text)
        for name in path.split("."):
            if isinstance(found, list) and name.isdigit() and int(name) < len(found):
                found = found[int(name)]
            else:
                found = found.get(name) if isinstance(found, dict) else None
        if found is not None:
            return found
    raise MetricError(f"it prints no JSON with a field {path!r}{last_line(stdout)}")
