"""One child process: started under a Launch, waited for without burning a core, killed with all it started."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import psutil

from hwdiag.process.launch import Launch
from hwdiag.process.model import Outcome

Event = dict[str, Any]
"""One JSON object that the worker wrote; its ``event`` says which."""

WORKER = Path(__file__).parents[1] / "agent" / "worker.py"
BIND = Path(__file__).with_name("bind.py")
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


POLL_S = 0.2
"""How often a child that says nothing is asked whether it still lives; what it says is heard at once."""


class Child:
    """A worker that is alive and waits for commands. Use it in a ``with`` statement: nothing of it outlives that.

    It gets a process group of its own, which is stopped, continued and killed as a whole.
    """

    def __init__(self, launch: Launch, python: str, task: Event, worker: Path = WORKER) -> None:
        """Start the worker under ``launch`` with its first line. One that cannot be started has ended at once.

        ``worker`` is another file that speaks as it does.
        """
        self.events: list[Event] = []
        self._buffer = b""
        self._stderr = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  closed in __exit__
        self._process: subprocess.Popen[bytes] | None = None
        self._outcome: Outcome | None = None
        self._adopts = bool(task.get("adopt"))
        argv = [*binding(launch), python, str(worker)]
        try:
            self._process = subprocess.Popen(
                argv,
                env=child_environment(launch),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                start_new_session=True,
            )
        except OSError as error:
            self._outcome = Outcome(kind="not-started", detail=f"{argv[0]}: {error.strerror or error}")
        else:
            self.tell({"parent": os.getpid(), "interop_threads": launch.interop_threads, **task})

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._stderr.close()

    @property
    def pid(self) -> int | None:
        """Of the process, and of its group; None if it could not be started."""
        return None if self._process is None else self._process.pid

    @property
    def ended(self) -> bool:
        """Whether nothing more will come from it."""
        return self._outcome is not None

    def tell(self, command: Event) -> None:
        """Send one command."""
        if self._process is None or self._process.stdin is None:
            return
        with contextlib.suppress(OSError):  # it died: the reader finds out why
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()

    def hear(self, names: Collection[str], timeout_s: float) -> Event | None:
        """The next event of one of these names; None if the child ended, or said nothing for ``timeout_s`` seconds.

        A child that runs out of time is killed: ``outcome`` then says so.
        """
        deadline = time.monotonic() + timeout_s
        while not self.ended:
            event = self._next_event(deadline)
            if event is None:
                self._end(timeout_s if time.monotonic() >= deadline else None)
            elif event["event"] in names:
                return event
        return None

    def pause(self) -> None:
        """Stop it, its threads that wait by spinning too, so that others have the machine for themselves."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def finish(self, timeout_s: float) -> Outcome:
        """Say that no more commands come, and wait for its end."""
        self._kill_followers()
        self.resume()
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self.hear((), timeout_s)
        return self.outcome()

    def outcome(self) -> Outcome:
        """How it ended; ok while it lives."""
        return self._outcome or Outcome(kind="ok")

    def event(self, name: str) -> Event | None:
        """The first event of this name without the name, None if it never came."""
        return next(({k: v for k, v in e.items() if k != "event"} for e in self.events if e["event"] == name), None)

    def kill(self) -> None:
        """Kill it and all that it started."""
        if self._process is not None:
            self._kill_followers()
            kill_group(self._process)
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
            self._outcome = self._outcome or Outcome(kind="signal", detail="ended by hwdiag")

    def _kill_followers(self) -> None:
        """Kill all that it started or adopted: what left its process group, as a user's own code may, is not in ours.

        It is stopped meanwhile, so that it starts nothing new, and asked again until nothing is left: what the killed
        had started in turn comes to it then.
        """
        if self._process is None or not self._adopts:
            return
        self.pause()
        deadline = time.monotonic() + GRACE_S
        while (left := self._followers()) and time.monotonic() < deadline:
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            time.sleep(0.005)

    def _followers(self) -> list[psutil.Process]:
        """Processes below it that are alive."""
        assert self._process is not None
        alive = []
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(self._process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if process.status() != psutil.STATUS_ZOMBIE:
                        alive.append(process)
        return alive

    def _next_event(self, deadline: float) -> Event | None:
        """The next whole line that is an event; None at the end of output or of the time."""
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                event = parse_event(line)
                if event is not None:
                    self.events.append(event)
                    return event
            elif not self._read(deadline):
                return None

    def _read(self, deadline: float) -> bool:
        """Wait for output; False when there will be none, because the child ended or the time is up."""
        assert self._process is not None
        assert self._process.stdout is not None
        out = self._process.stdout.fileno()
        poller = select.poll()
        poller.register(out, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            # What left the process group may hold the pipe open for ever: its end is not waited for.
            died = self._process.poll() is not None
            if poller.poll(0 if died else 1000 * min(POLL_S, left)):
                chunk = os.read(out, 1 << 16)
                self._buffer += chunk
                return bool(chunk)
            if died:
                return False
        return False

    def _end(self, timeout_s: float | None) -> None:
        """Leave nothing of it behind and note how it ended."""
        assert self._process is not None
        if timeout_s is None:
            with contextlib.suppress(subprocess.TimeoutExpired):  # its output ended: it is about to end itself
                self._process.wait(GRACE_S)
        self.kill()
        self._outcome = classify(self._process.returncode, self.events, self._tail(), timeout_s)

    def _tail(self) -> str:
        """The end of what it wrote to standard error."""
        self._stderr.flush()
        self._stderr.seek(0)
        return self._stderr.read()[-STDERR_TAIL:]

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


def child_environment(launch: Launch) -> dict[str, str]:
    """The inherited environment with the Launch's variables, its libraries in front of what is preloaded already."""
    inherited = {name: value for name, value in os.environ.items() if name not in launch.unset}
    env = {**inherited, **launch.environment()}
    if launch.preloaded:
        env["LD_PRELOAD"] = ":".join(filter(None, (*launch.preloaded, inherited.get("LD_PRELOAD"))))
    return env


def binding(launch: Launch) -> tuple[str, ...]:
    """The command in front that binds it: numactl or taskset where they are installed, else our own stand-in."""
    words = launch.binding()
    if not words or shutil.which(words[0]):
        return words
    cpus = ",".join(map(str, launch.cpus or ())) or "-"
    memory = launch.memory
    policy = ("-", "-") if memory is None else (memory.mode, ",".join(map(str, memory.nodes)))
    return (sys.executable, "-IS", str(BIND), cpus, *policy)


def kill_group(process: subprocess.Popen[Any]) -> None:
    """Kill the child and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def parse_events(output: str) -> tuple[Event, ...]:
    """The events of whole lines."""
    return tuple(event for line in output.splitlines() if (event := parse_event(line)) is not None)


def parse_event(line: str | bytes) -> Event | None:
    """The event of one line; None for any other text, such as a line that a killed child did not finish."""
    event = parse_any(line)
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def parse_any(text: str | bytes) -> Any:
    """What this JSON says; None if it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def during(events: Collection[Event]) -> str:
    """What a child with these events was doing, as the end of a sentence."""
    doing = next((e["workload"] for e in reversed([*events]) if e["event"] == "begin"), None)
    return f" in {doing}" if doing else " before torch was imported"


def classify(returncode: int, events: Collection[Event], stderr: str, timeout_s: float | None) -> Outcome:
    """How the child ended, in one line that names what it was doing."""
    failed = next((e for e in events if e["event"] == "failed" and e["kind"] == "import-error"), None)
    if timeout_s is not None:
        return Outcome(kind="timeout", detail=f"no answer for {timeout_s:.0f} s{during(events)}: killed")
    if failed is not None:
        return Outcome(kind="import-error", detail=f"torch cannot be imported: {failed['detail']}")
    if returncode < 0:
        return died_of(-returncode, during(events), stderr)
    if returncode or not any(e["event"] == "end" for e in events):
        return Outcome(kind="error", detail=f"exit status {returncode}{during(events)}{last_line(stderr)}")
    return Outcome(kind="ok")


def died_of(number: int, doing: str, stderr: str) -> Outcome:
    """The outcome of a child that a signal ended."""
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    meaning = f" ({SIGNAL_MEANING[name]})" if name in SIGNAL_MEANING else ""
    frame = re.search(r'File "([^"]+)", line (\d+) in (\S+)', stderr)  # faulthandler's innermost frame
    where = f"; last Python frame: {frame[3]}, {frame[1]}:{frame[2]}" if frame else ""
    return Outcome(kind="signal", detail=f"killed by {name}{meaning}{doing}{where}")


def last_line(stderr: str) -> str:
    """The line that says why, as the end of a sentence: the last one, or that before a usage text."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    usage = next((i for i, line in enumerate(lines) if line.lower().startswith("usage:")), len(lines))
    return f": {lines[max(0, usage - 1)][:300]}" if lines else ""
