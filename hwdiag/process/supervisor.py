"""Runs one process and leaves nothing behind of it, whatever it starts. Standard library only, run by path.

It reads a task from its standard input, one JSON object on a line::

    {"bind": ["taskset", "--cpu-list", "0"], "argv": ["python", "main.py"], "env": {}, "stdio": [null, null, null],
     "merge": false, "announce": true, "say_pid": false, "timeout_s": 600, "most_printed": null, "tail_bytes": 1048576}

``stdio`` are files that become standard input, output and error; null is /dev/null for the input, and for the others a
pipe of which the end is kept. ``merge`` sends the error where the output goes. ``announce`` puts ``start.py`` in front
of the command. ``timeout_s`` 0 is none.

Further lines are ``{"signal": 2}``, handed on to the process and its group. The end of the input ends all of it: so the
parent stops it, and so the parent's own death does. The answers, one JSON object a line, are ``{"pid": 4711}`` if it
was asked for, and at the end why and how it ended.

What the process starts is adopted by this one when its own parent ends (PR_SET_CHILD_SUBREAPER), even what leaves the
session, so that all of it is found and killed. The process itself is reaped last, so that the parent may signal it by
its id until it is told of the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from typing import Any

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from hwdiag.agent import tree
from hwdiag.process.tail import PIECE, Tail

START = os.path.join(os.path.dirname(os.path.abspath(__file__)), "start.py")
DRAIN_S = 2.0
"""Seconds, at most, for output that is in the pipes still when everything has ended."""


class Stopped(Exception):
    """This process was asked to end."""


class Death:
    """Waits for a process's end, and reaps all orphans that end before it."""

    def __init__(self, pid: int) -> None:
        self.pid, self.at = pid, 0.0
        self.file, self._end = os.pipe()
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        while True:  # blocked in the kernel: a process that is stopped and continued wakes nobody
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
                if ended is None or ended.si_pid == self.pid:
                    break
                os.waitpid(ended.si_pid, 0)
            except ChildProcessError:  # all were reaped at the end
                break
        self.at = time.monotonic()
        os.close(self._end)


class RunningProcess:
    """One process while it runs."""

    def __init__(self, task: dict[str, Any], commands: bytes) -> None:
        """Start it; ``commands`` are those that came with the task. Raises ``OSError`` if it cannot be started."""
        here = os.getpid()
        announced, say = os.pipe()
        starter = [sys.executable, "-IS", START, str(say)] if task["announce"] else []
        stdin, stdout, stderr = task["stdio"]
        output = subprocess.PIPE if stdout is None else stdout
        error = subprocess.STDOUT if task["merge"] else subprocess.PIPE if stderr is None else stderr
        try:
            self.process = subprocess.Popen(
                [*task["bind"], *starter, *task["argv"]],
                env=task["env"],
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=output,
                stderr=error,
                pass_fds=[say] if starter else [],
                start_new_session=True,
                preexec_fn=lambda: tree.die_with_parent(here),
            )
        finally:
            os.close(say)
        for file in {file for file in task["stdio"] if file is not None}:
            os.close(file)
        pipes = (self.process.stdout, self.process.stderr)
        self.tails = [Tail(task["tail_bytes"]) for _ in range(3)]
        self.open = {announced: self.tails[2]}
        self.open |= {pipe.fileno(): tail for pipe, tail in zip(pipes, self.tails, strict=False) if pipe}
        self.death = Death(self.process.pid)
        self.deadline = time.monotonic() + (task["timeout_s"] or float("inf"))
        self.most_printed = task["most_printed"] or float("inf")
        self._commands = commands

    def watch(self) -> str:
        """Wait until it has ended, or must be ended; return which."""
        poller = select.poll()
        for file in (0, self.death.file, *self.open):
            poller.register(file, select.POLLIN)
        self.obey(b"")
        while True:
            left = self.deadline - time.monotonic()
            if left <= 0:
                return "timeout"
            ready = [file for file, _ in poller.poll(None if left == float("inf") else 1000 * left)]
            if self.death.file in ready:
                return "ended"
            if 0 in ready and not self.obey(os.read(0, PIECE)):
                return "stopped"
            for file in set(ready) & self.open.keys():
                if not self.read(file):
                    poller.unregister(file)
            if sum(tail.total for tail in self.tails) > self.most_printed:
                return "printed"

    def read(self, file: int) -> bool:
        """Keep a piece of one output; return whether there may be more."""
        piece = os.read(file, PIECE)
        if piece:
            self.open[file].add(piece)
        else:
            del self.open[file]
        return bool(piece)

    def obey(self, data: bytes) -> bool:
        """Hand on the signals that are asked for; return False at the end of what is asked."""
        *lines, self._commands = (self._commands + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, json.loads(line)["signal"])
        return bool(data)

    def drain(self) -> None:
        """Read what is in the pipes still."""
        deadline = time.monotonic() + DRAIN_S
        while self.open and (left := deadline - time.monotonic()) > 0:
            for file in select.select([*self.open], [], [], left)[0]:
                self.read(file)

    def end(self, why: str) -> dict[str, Any]:
        """Leave nothing of it; return how it ended."""
        status = tree.kill_below().get(self.process.pid)
        self.drain()
        of_children, own = (resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF))
        stdout, stderr, start = (tail.text() for tail in self.tails)
        return {
            "why": why,
            "returncode": None if status is None else os.waitstatus_to_exitcode(status),
            "stdout": stdout,
            "stderr": stderr,
            "start": start,
            "ended_at": self.death.at or time.monotonic(),
            "cpu_s": sum(usage.ru_utime + usage.ru_stime for usage in (of_children, own)),
            "peak_rss_bytes": of_children.ru_maxrss * 1024,
        }


def stop(*_: object) -> None:
    raise Stopped


def main() -> None:
    """Run the task's process to its end."""
    signal.signal(signal.SIGTERM, stop)
    answers = os.fdopen(os.dup(1), "w")

    def say(what: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the parent may have died
            answers.write(json.dumps(what) + "\n")
            answers.flush()

    line, commands = first_line()
    task = json.loads(line)
    tree.adopt_orphans()
    try:
        supervised = RunningProcess(task, commands)
    except OSError as error:
        return say({"why": "error", "error": f"{error.filename or task['argv'][0]}: {error.strerror}"})
    try:  # whoever hears the pid may ask it to stop at once
        if task["say_pid"]:
            say({"pid": supervised.process.pid})
        why = supervised.watch()
    except Stopped:
        why = "stopped"
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return say(supervised.end(why))


def first_line() -> tuple[bytes, bytes]:
    """Return the task, and what was read beyond it; end where the parent has died before it was there."""
    data = b""
    while b"\n" not in data:
        piece = os.read(0, PIECE)
        if not piece:
            os._exit(1)
        data += piece
    line, _, rest = data.partition(b"\n")
    return line, rest


if __name__ == "__main__":
    main()
    os._exit(0)
