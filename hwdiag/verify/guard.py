"""The parent that waits for a verdict: one is there at the deadline, whatever hangs. It opens nothing that could."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from hwdiag import __version__
from hwdiag.core.outside import OutsideError, parse_json
from hwdiag.core.text import now
from hwdiag.parameters.verify import VerifyParams
from hwdiag.record.verification import SEVERITY, VerdictCause, Verification, worst

MOST_BYTES = 1 << 22
"""Of what the child tells: more is not ours."""
ERROR_BYTES = 4096
REAP_S = 0.3
INNER = (sys.executable, "-m", "hwdiag.verify.inner")


def guarded(params: VerifyParams, command: tuple[str, ...] = INNER, *, began: float | None = None) -> Verification:
    """Return the verdict, at the latest when the time is over; where the child hangs it says at what.

    ``began``: when that time began, by the monotonic clock; None for now.
    """
    began, started_at = began or time.monotonic(), now()
    deadline = began + params.timeout - REAP_S
    facts: Verification | None = None
    doing, problem = "starting Python", ""
    try:
        child = start(params.model_copy(update={"timeout": max(0.01, deadline - time.monotonic())}), command)
    except OSError as error:
        return told(None, f"hwdiag could not start its child: {error.strerror}", began, started_at)
    try:
        for line in lines(child, deadline):
            if "done" in line:
                return Verification.model_validate(line["done"])
            if "facts" in line:
                facts = Verification.model_validate(line["facts"])
            doing = str(line.get("doing", doing))[:500]
        over = time.monotonic() >= deadline
        problem = f"{doing} took longer than {params.timeout:g} s{busy()}" if over else f"{doing}: {last_words(child)}"
    except ValueError as error:  # a damaged answer, as of an installation that is half updated
        problem = f"{doing}: its answer is damaged: {str(error).splitlines()[0]}"
    finally:
        end(child)
    return told(facts, problem, began, started_at)


def busy() -> str:
    """Return the load average as a clause, if it is above the number of CPUs; else an empty text."""
    load, cpus = os.getloadavg()[0], len(os.sched_getaffinity(0))
    return f" (the load average is {load:.1f}, on {cpus} CPUs)" if load > cpus else ""


def start(params: VerifyParams, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Start the child and give it the parameters. Raises ``OSError``."""
    pipe = subprocess.PIPE
    child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, bufsize=0)
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(params.model_dump_json().encode() + b"\n")
    return child


def lines(child: subprocess.Popen[bytes], deadline: float) -> Iterator[dict[str, Any]]:
    """Yield what the child tells until it ends, or the time is over. Raises ``ValueError`` for what is not ours."""
    assert child.stdout is not None
    file, text = child.stdout.fileno(), b""
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([file], [], [], left)[0]:
            return
        piece = os.read(file, 1 << 16)
        if not piece:
            return
        text += piece
        if len(text) > MOST_BYTES:
            raise OutsideError("its answer has no end")
        *whole, text = text.split(b"\n")
        for line in whole:
            value = parse_json(line)
            if not isinstance(value, dict):
                raise OutsideError("not a line of ours")
            yield value


def last_words(child: subprocess.Popen[bytes]) -> str:
    """Return the last line of what the child wrote to its standard error, or how it ended."""
    assert child.stderr is not None
    os.set_blocking(child.stderr.fileno(), False)
    with contextlib.suppress(BlockingIOError, OSError):
        text = (os.read(child.stderr.fileno(), 1 << 16) or b"")[-ERROR_BYTES:].decode(errors="replace")
        if text.strip():
            return text.strip().splitlines()[-1][:500]
    return "its child ended without a word"


def end(child: subprocess.Popen[bytes]) -> None:
    """End the child with all of its process group. One that the kernel does not let go is not waited for."""
    with contextlib.suppress(OSError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(REAP_S)
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def told(facts: Verification | None, problem: str, began: float, started_at: str) -> Verification:
    """Return the verdict where the child did not give it: what the facts gave, and why there is no more."""
    hung = "look what hangs (a mount, a driver: dmesg), or give it longer: --timeout S"
    remedy = "verify again while nothing else runs here, or with a larger --timeout" if busy() else hung
    title = " ".join(problem.split())[:1000]
    why = VerdictCause(id="not-finished", status="UNKNOWN", title=title, remedy=remedy)
    causes = tuple(sorted((*(facts.causes if facts else ()), why), key=lambda c: SEVERITY.index(c.status)))
    same = {"status": worst(causes), "causes": causes, "seconds": round(time.monotonic() - began, 3)}
    if facts is not None:
        return facts.model_copy(update=same)
    name = os.uname().nodename
    return Verification.model_validate(
        {**same, "host": name, "hostname": name, "started_at": started_at, "version": __version__}
    )
