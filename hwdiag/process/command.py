"""A command of the person's own: every run is a fresh process under its Launch, and nothing outlives it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hwdiag.process.launch import Launch
from hwdiag.process.model import Applied, Command, Outcome
from hwdiag.process.outcome import died_of, last_line, parse_any
from hwdiag.process.supervised import GRACE_S, End, Stdio, Supervised, binding, child_environment
from hwdiag.process.verify import not_applied

WANTS_TERMINAL = re.compile(
    r"not a (?:tty|terminal)|inappropriate ioctl|/dev/tty|EOF when reading|EOFError|input is not from a terminal"
    r"|terminal (?:is )?required|cbreak\(\)|setupterm|error opening terminal",
    re.IGNORECASE,
)
"""What programs say that find no terminal: Python's input(), getpass, sudo, ssh, curses, stty, vi."""


MATCHING_S = 2.0
"""CPU seconds for a metric's regular expression and one output."""


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


class Running(Supervised):
    """A command at work. Use it in a ``with`` statement: nothing of it outlives that."""

    def __init__(self, command: Command, launch: Launch, stdio: Stdio | None = None) -> None:
        """Start it.

        ``stdio``: files that become its standard input, output and error. Without, it has no input, and ``ran`` tells
        how it ended by the end of what it printed.
        """
        self.command, self.launch = command, launch
        super().__init__(
            command.argv,
            child_environment(launch),
            bind=binding(launch),
            stdio=stdio or (None, None, None),
            announce=True,
            timeout_s=command.timeout_s,
        )

    def __enter__(self) -> Running:
        return self

    def ran(self) -> Ran:
        """Wait for its end, at the latest that of its time-out, and return what came of it."""
        limit = self.command.timeout_s
        return read(self.wait(limit + GRACE_S if limit else None), self.command, self.launch)


def read(end: End | None, command: Command, launch: Launch) -> Ran:
    """Return what the supervisor's words mean; None is that it never came to an end."""
    if end is None:
        return Ran(Outcome(kind="timeout", detail="the command cannot be killed: the kernel holds it"))
    if end.why == "lost":
        return Ran(Outcome(kind="error", detail="what watches over the command was killed"))
    start = [parse_any(line) or {} for line in end.start.splitlines()]
    seen = next((s for s in start if "applied" in s), None)
    applied = None if seen is None else Applied.model_validate(seen["applied"])
    outcome = outcome_of(end, start, applied, command, launch)
    value, began, ended = None, 0.0, 0.0
    if seen is not None and end.why == "ended":
        began, ended = seen["at"], end.ended_at
    if outcome.ok:
        try:
            value = metric(command, end.stdout, end.stderr, ended - began)
        except MetricError as error:
            outcome = Outcome(kind="error", detail=str(error))
    status = end.returncode if end.why == "ended" else None
    return Ran(outcome, value, began, ended, applied, end.cpu_s, end.peak_rss_bytes, status)


def outcome_of(
    end: End, start: Sequence[dict[str, Any]], applied: Applied | None, command: Command, launch: Launch
) -> Outcome:
    """Return how a command ended, in one line."""
    error = end.error or next((s["error"] for s in start if "error" in s), None)
    if error:
        return Outcome(kind="not-started", detail=f"the command cannot be started: {error}")
    if end.why == "stopped":
        return Outcome(kind="signal", detail="ended by hwdiag")
    if end.why != "ended":
        return Outcome(kind="timeout", detail=f"no end after {command.timeout_s:.0f} s: killed, with all it started")
    stdout, stderr, status = end.stdout, end.stderr, end.returncode
    if applied is None:
        return Outcome(kind="not-applied", detail=f"the binding failed with exit status {status}{last_line(stderr)}")
    refused = not_applied(launch.model_copy(update={"threads": None}), applied)  # only torch could tell of threads
    if refused:
        return Outcome(kind="not-applied", detail=refused)
    if status is None:
        return Outcome(kind="error", detail="the command ended, and the kernel does not let go of it")
    if status < 0:
        return died_of(-status, " in the command", stderr)
    if status:
        hint = " (it wants a terminal, and has none here)" if WANTS_TERMINAL.search(stderr or stdout) else ""
        return Outcome(kind="error", detail=f"exit status {status}{last_line(stderr or stdout)}{hint}")
    return Outcome(kind="ok")


def metric(command: Command, stdout: str, stderr: str, wall_s: float) -> float:
    """Return the number that counts. Raises ``MetricError`` where there is none above 0."""
    if command.metric is not None:
        found: Any = last_match(command.metric, stdout) or last_match(command.metric, stderr)
        if found is None:
            raise MetricError(f"it prints nothing that matches {command.metric!r}{last_line(stdout or stderr)}")
    elif command.metric_json is not None:
        found = field(stdout, command.metric_json)
    else:
        found = wall_s
    try:
        value = float("no" if isinstance(found, bool) else found)
    except (TypeError, ValueError, OverflowError):
        raise MetricError(f"its metric is no number: {str(found)[:100]!r}") from None
    if not (math.isfinite(value) and value > 0):
        raise MetricError(f"its metric is {value:g}: comparing needs a number above 0")
    return value


def last_match(expression: str, text: str) -> str | None:
    """Return what the group of a regular expression's last match has; None where nothing matches.

    Raises:
        MetricError: looking for it has no end: ``(a+)+$`` tries twice as many ways with each letter.
    """
    import regex  # only here: importing it takes 30 ms

    found = None
    try:
        for match in regex.finditer(expression, text, timeout=MATCHING_S):
            found = match[1] or ""
    except TimeoutError:
        raise MetricError(
            f"matching {expression!r} with its {len(text)} characters takes more than {MATCHING_S:g} s: "
            "give an expression with fewer ways to match"
        ) from None
    return found


def field(stdout: str, path: str) -> Any:
    """Return a field of the JSON that is printed: all of the output, or the last line that has it."""
    for text in (stdout, *reversed(stdout.splitlines())):
        found: Any = parse_any(text)
        for name in path.split("."):
            if isinstance(found, list) and re.fullmatch(r"[0-9]{1,9}", name) and int(name) < len(found):
                found = found[int(name)]
            else:
                found = found.get(name) if isinstance(found, dict) else None
        if found is not None:
            return found
    raise MetricError(f"it prints no JSON with a field {path[:200]!r}{last_line(stdout)}")
