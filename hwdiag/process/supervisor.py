"""Runs one command and leaves nothing of it behind, whatever it starts. Standard library only, run by path.

``supervisor.py keep`` reads a task from its standard input, one JSON object::

    {"parent": 4711, "bind": ["taskset", "--cpu-list", "0"], "argv": ["python", "main.py"], "env": {}, "timeout_s": 600}

and writes what came of it, one JSON object, at the end. With ``"stdio": [5, 6, 7]`` the command has these files as
its standard input, output and error, and nothing of its output is kept; without, it has no input, and the end of what
it prints is told. A further line ``{"signal": 2}`` hands that signal on to the command. ``timeout_s`` 0 is none.

What the command starts is adopted by this process when its own parent ends (PR_SET_CHILD_SUBREAPER), even what leaves
the session, so that all of it can be found and killed: at the command's end, after the time-out, on SIGTERM, and when
the parent dies.

``supervisor.py start FD COMMAND [ARGUMENT...]`` is put between the binding and the command: it says to FD what of the
Launch it sees of itself, and becomes the command.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from typing import IO, Any

TAIL_BYTES = 1 << 20
"""Of each output so much is kept, from its end."""
DRAIN_S = 2.0
"""How long, at most, for output that is in the pipes still when the command has ended."""
KILL_S = 10.0
"""How long, at most, for what was killed to end: longer only where the kernel holds it."""
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


class Stopped(Exception):
    """The time is up, or the parent wants no more."""


class Tail:
    """The end of what comes out of a pipe, read on the side."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.data = b""
        self.thread = threading.Thread(target=self.read, args=(pipe,), daemon=True)
        self.thread.start()

    def read(self, pipe: IO[bytes]) -> None:
        while chunk := os.read(pipe.fileno(), 1 << 16):
            self.data = (self.data + chunk)[-TAIL_BYTES:]

    def text(self) -> str:
        self.thread.join(DRAIN_S)
        return self.data.decode(errors="replace")


def descendants() -> set[int]:
    """Process ids of all that this process started, and that they started in turn; a zombie is none."""
    parents: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", errors="replace") as stat:
            state, parent = stat.read().rpartition(")")[2].split()[:2]  # the name before may hold anything
            if state != "Z":
                parents[int(name)] = int(parent)
    found: set[int] = set()
    new = {os.getpid()}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found


def kill_all() -> int:
    """Kill what is left, and what that forks meanwhile; gives how many there were that should not have been there."""
    left: set[int] = set()
    deadline = time.monotonic() + KILL_S
    while (alive := descendants()) and time.monotonic() < deadline:
        left |= alive
        for pid in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return len(left)


def stop(*_: object) -> None:
    raise Stopped


def follow(parent: int, number: int) -> None:
    """Be sent this signal when the parent dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def hand_on(process: subprocess.Popen[bytes]) -> None:
    """Send the command, and all of its group, each signal that is asked for."""
    for line in sys.stdin:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, json.loads(line)["signal"])


def keep() -> None:
    """Run the task's command to its end."""
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, stop)
    task = json.loads(sys.stdin.readline())
    follow(task["parent"], signal.SIGTERM)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    here = os.getpid()
    seen, say = os.pipe()
    argv = [*task["bind"], sys.executable, "-IS", __file__, "start", str(say), *task["argv"]]
    result: dict[str, Any] = {"timed_out": False}
    stdin, stdout, stderr = task.get("stdio") or (subprocess.DEVNULL, subprocess.PIPE, subprocess.PIPE)
    process: subprocess.Popen[bytes] | None = None
    try:
        signal.setitimer(signal.ITIMER_REAL, task["timeout_s"])
        process = subprocess.Popen(
            argv,
            env=task["env"],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=[say],
            start_new_session=True,
            preexec_fn=lambda: follow(here, signal.SIGKILL),
        )
        os.close(say)
        threading.Thread(target=hand_on, args=(process,), daemon=True).start()
        tails = [Tail(pipe) for pipe in (process.stdout, process.stderr) if pipe]
        with open(seen, errors="replace") as lines:  # at its end, the command begins
            result["start"] = lines.read()
        process.wait()
        result["ended_at"] = time.monotonic()
    except Stopped:
        result["timed_out"] = True
    except OSError as error:
        result["error"] = f"{argv[0]}: {error.strerror}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        left = kill_all()
    if process is not None:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        result |= {
            "returncode": process.wait(KILL_S),
            "stdout": tails[0].text() if tails else "",
            "stderr": tails[1].text() if tails else "",
            "left": 0 if result["timed_out"] else left,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "peak_rss_bytes": usage.ru_maxrss * 1024,
        }
    print(json.dumps(result))


def mapped_files() -> set[str]:
    """Files in this process's memory."""
    with open("/proc/self/maps", errors="replace") as maps:
        fields = [line.split(None, 5) for line in maps]
    return {f[5].strip() for f in fields if len(f) == 6 and f[5].startswith("/")}


def memory_policy() -> str | None:
    """The NUMA policy in numa_maps' words, None if the kernel has none."""
    with contextlib.suppress(OSError), open("/proc/self/numa_maps") as lines:
        policies = [line.split()[1] for line in lines]
        return max(set(policies), key=policies.count, default=None)
    return None


def start(fd: int, argv: list[str]) -> None:
    """Become the command."""
    preloads = {os.path.realpath(path) for path in os.environ.get("LD_PRELOAD", "").replace(":", " ").split()}
    seen = {
        "cpus": sorted(os.sched_getaffinity(0)),
        "memory_policy": memory_policy(),
        "preloaded": sorted(preloads & mapped_files()),
    }
    os.set_inheritable(fd, False)
    os.write(fd, json.dumps({"applied": seen, "at": time.monotonic()}).encode() + b"\n")
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(fd, json.dumps({"error": f"{argv[0]}: {error.strerror}"}).encode() + b"\n")
        os._exit(127)


if __name__ == "__main__":
    if sys.argv[1] == "keep":
        keep()
    else:
        start(int(sys.argv[2]), sys.argv[3:])
