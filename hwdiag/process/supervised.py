"""One process with all that it starts, under a supervisor of its own: the parent's side."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from hwdiag.core.value import Value
from hwdiag.process.launch import Launch
from hwdiag.process.outcome import parse_any

SUPERVISOR = Path(__file__).with_name("supervisor.py")
BIND = Path(__file__).with_name("bind.py")
TAIL_BYTES = 1 << 20
"""Of each output so much is kept, from its end."""
GRACE_S = 15.0
"""Seconds for the supervisor to kill what is left and to say so."""

Stdio = tuple[int | None, int | None, int | None]
"""Files that become standard input, output and error; None is no input, and an output of which the end is kept."""


class End(Value):
    """The end of a supervised process."""

    why: Literal["ended", "timeout", "printed", "stopped", "error", "lost"]
    """``ended`` by itself, or ended for the time, for what it printed, or because the parent wanted it; ``error``: it
    never began; ``lost``: the supervisor was killed."""
    error: str = ""
    """Why it never began."""
    returncode: int | None = None
    """Minus the signal that ended it; None if it never began, or the kernel holds it still."""
    stdout: str = ""
    stderr: str = ""
    start: str = ""
    """What ``start.py`` said before the command began."""
    ended_at: float = 0.0
    """On the monotonic clock."""
    cpu_s: float | None = None
    """CPU seconds of all of it, and of its supervisor."""
    peak_rss_bytes: int | None = None
    """Of the largest process."""


class Supervised:
    """A process that runs. Use it in a ``with`` statement: nothing of it, and of what it starts, outlives that."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        bind: Sequence[str] = (),
        stdio: Stdio = (None, None, None),
        merge: bool = False,
        announce: bool = False,
        say_pid: bool = False,
        timeout_s: float = 0,
        most_printed: int | None = None,
        tail_bytes: int = TAIL_BYTES,
    ) -> None:
        """Start it.

        Args:
            argv: the command.
            env: all of its environment.
            bind: words in front of it that bind it to CPUs and memory.
            stdio: its files.
            merge: its standard error goes where its output goes.
            announce: let ``start.py`` say what of its Launch took effect.
            say_pid: let ``pid`` be asked for; ``fileno`` is then of no use.
            timeout_s: seconds after which it is killed; 0 is none.
            most_printed: bytes after which it is killed.
            tail_bytes: of each output so much is kept.
        """
        passed = {file: os.dup(file) for file in stdio if file is not None}  # 0 to 2 are the supervisor's own
        task = {
            "argv": [*argv],
            "env": dict(env),
            "bind": [*bind],
            "stdio": [None if file is None else passed[file] for file in stdio],
            "merge": merge,
            "announce": announce,
            "say_pid": say_pid,
            "timeout_s": timeout_s,
            "most_printed": most_printed,
            "tail_bytes": tail_bytes,
        }
        self._said = b""
        self._pid: int | None = None
        self._say_pid = say_pid
        self._end: End | None = None
        self._supervisor = subprocess.Popen(
            [sys.executable, "-IS", str(SUPERVISOR)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[*passed.values()],
            env={k: v for k, v in os.environ.items() if k != "LD_PRELOAD"},
        )
        self._tell(task)
        for file in passed.values():
            os.close(file)

    def __enter__(self) -> Supervised:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def supervisor_pid(self) -> int:
        """Return the id of the supervisor, below which all that it starts is found."""
        return self._supervisor.pid

    @property
    def pid(self) -> int | None:
        """Return the id of the process, and of its group; None if it could not be started."""
        while self._say_pid and self._pid is None and self._end is None:
            self._take()
        return self._pid

    @property
    def end(self) -> End | None:
        """Return how the process ended; None while it runs, as far as ``wait`` was called."""
        return self._end

    def fileno(self) -> int:
        """Return a file that can be read from as soon as it has ended."""
        assert self._supervisor.stdout is not None
        return self._supervisor.stdout.fileno()

    def signal(self, number: int) -> None:
        """Hand a signal on to the process and its group."""
        self._tell({"signal": int(number)})

    def pause(self) -> None:
        """Stop it at once, its threads that wait by spinning too."""
        self._signal_now(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal_now(signal.SIGCONT)

    def wait(self, timeout_s: float | None = None) -> End | None:
        """Wait for its end, and return it; None if it has not come within the time."""
        deadline = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
        poller = select.poll()
        poller.register(self.fileno(), select.POLLIN)
        while self._end is None:
            left = max(0.0, deadline - time.monotonic())
            if not poller.poll(None if math.isinf(left) else 1000 * left):
                return None
            self._take()
        return self._end

    def stop(self) -> End:
        """End it with all that it started, if it runs; return how it ended."""
        assert self._supervisor.stdin is not None
        with contextlib.suppress(OSError):
            self._supervisor.stdin.close()
        end = self.wait(GRACE_S)
        if end is None:
            self._supervisor.kill()  # the kernel holds what it waits for
            self._lost()
        assert self._end is not None
        return self._end

    def _take(self) -> None:
        """Read from the supervisor; blocks until it says something."""
        piece = os.read(self.fileno(), 1 << 16)
        *lines, self._said = (self._said + piece).split(b"\n")
        for line in lines:
            said = parse_any(line)
            if "why" in said:
                self._end = End.model_validate(said)
            else:
                self._pid = said["pid"]
        if self._end is not None:
            self._supervisor.wait()
        elif not piece:
            self._lost()

    def _lost(self) -> None:
        self._supervisor.wait()
        self._end = End(why="lost")

    def _tell(self, what: object) -> None:
        assert self._supervisor.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it ended: ``wait`` finds out how
            self._supervisor.stdin.write(json.dumps(what).encode() + b"\n")
            self._supervisor.stdin.flush()

    def _signal_now(self, number: int) -> None:
        """Signal the process and its group. Its id is its own until the supervisor has told of the end."""
        if self.pid is not None and self.wait(0) is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)


def child_environment(launch: Launch) -> dict[str, str]:
    """Return the inherited environment with the Launch's variables, its libraries and folders in front of others."""
    inherited = {name: value for name, value in os.environ.items() if name not in launch.unset}
    env = {**inherited, **launch.environment()}
    if launch.preloaded:
        env["LD_PRELOAD"] = ":".join(filter(None, (*launch.preloaded, inherited.get("LD_PRELOAD"))))
    if launch.python_path:
        env["PYTHONPATH"] = ":".join(filter(None, (*launch.python_path, inherited.get("PYTHONPATH"))))
    return env


def binding(launch: Launch) -> tuple[str, ...]:
    """Return the command in front that binds it: numactl or taskset where installed, else our own stand-in."""
    words = launch.binding()
    if not words or shutil.which(words[0]):
        return words
    cpus = ",".join(map(str, launch.cpus or ())) or "-"
    memory = launch.memory
    policy = ("-", "-") if memory is None else (memory.mode, ",".join(map(str, memory.nodes)))
    return (sys.executable, "-IS", str(BIND), cpus, *policy)
