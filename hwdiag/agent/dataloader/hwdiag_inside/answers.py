"""The child: reads a first line, then one command a line; answers each with one JSON object that has an ``event``.

Run by path under any interpreter; hwdiag need not be installed there::

    {"parent": 4711}
    {"do": "find", "folder": "/data/pictures"}
    {"do": "trial", "data": {...}, "setting": {"workers": 4, "batch_size": 32}, "seconds": 1.0, "limit_s": 30}

Answers: ``done`` with ``found``, or ``failed`` with ``kind`` and ``detail``. ``find`` and ``read`` run here; all else
in a process of its own, forked once torch is imported, watched, and killed with all that it started.
"""

import ctypes
import errno
import faulthandler
import json
import os
import re
import resource
import select
import signal
import sys
import tempfile
import time
import warnings

from . import memory

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LOOK_S = 0.25
"""How often the memory of a trial is looked at, so that one that takes too much is stopped."""
CLOSE_LOOK_S = 0.03
"""The same where memory is what is measured."""
KILL_S = 10.0
OUT_OF_SHM = "/dev/shm is too small for the batches on their way: give the container more (--shm-size, --ipc=host)"
OUT_OF_FILES = (
    "too many open files: raise the limit (ulimit -n), or torch.multiprocessing.set_sharing_strategy('file_system')"
)


def main():
    faulthandler.enable()
    warnings.simplefilter("ignore")
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def tell(event, **values):
        lines.write(json.dumps(dict(values, event=event)) + "\n")

    first = json.loads(sys.stdin.readline())
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.kill(first["parent"], 0)
    for line in iter(sys.stdin.readline, ""):
        task = json.loads(line)
        tell("begin", workload=task["do"])
        try:
            tell("done", found=answer(task, lines))
        except Failed as error:
            tell("failed", kind=error.kind, detail=str(error))
        except ImportError as error:
            tell("failed", kind="import-error", detail=one_line(error))
        except Exception as error:
            tell("failed", kind="error", detail=explained(error))
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    tell("end", cpu_s=sum(u.ru_utime + u.ru_stime for u in usage))


class Failed(Exception):
    def __init__(self, kind, detail):
        super().__init__(detail)
        self.kind = kind


def one_line(error):
    text = str(error).strip().splitlines()
    return "%s: %s" % (type(error).__name__, text[0][:400] if text else "")


def explained(error):
    """One line that says what is wrong, of what torch, the Dataset or the system raised."""
    text = str(error)
    is_emfile = isinstance(error, OSError) and error.errno == errno.EMFILE
    if is_emfile or "Too many open files" in text or "received 0 items of ancdata" in text:
        return OUT_OF_FILES
    if "Bus error" in text or "unable to allocate shared memory" in text or "No space left on device" in text:
        return OUT_OF_SHM
    died = re.search(r"DataLoader worker .{0,40}(killed by signal: \w+|exited unexpectedly)", text)
    if died:
        return "a worker of the DataLoader died: it %s" % died.group(1).replace("killed", "was killed")
    if "DataLoader timed out" in text:
        return "a worker gave no batch for %s s" % re.search(r"after (\d+)", text).group(1)
    caught = re.match(r"Caught (\w+) in DataLoader worker", text)
    if caught:
        return "the Dataset raises in a worker: %s" % text.strip().splitlines()[-1].strip()[:400]
    return one_line(error) if not isinstance(error, RuntimeError) else one_line(error).partition(": ")[2]


def answer(task, lines):
    if task["do"] in ("find", "read"):
        from . import reading

        return getattr(reading, task["do"])(task)
    if task["do"] == "compare":
        from . import decoders

        return apart(decoders.compare, task, lines)
    import torch.utils.data  # once, here: what is forked has it already  # noqa: F401

    from . import caching, loading

    return apart(caching.keep if task["do"] == "keep" else getattr(loading, task["do"]), task, lines)


def apart(work, task, lines):
    """Run it in a process of its own. Gives what it found, with the memory that it held."""
    reader, writer = os.pipe()
    killed_before = memory.oom_kills()
    with tempfile.TemporaryFile("w+", errors="replace") as stderr:
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reader)
                lines.close()
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(stderr.fileno(), 1)
                os.dup2(stderr.fileno(), 2)
                if task.get("most_files"):
                    resource.setrlimit(resource.RLIMIT_NOFILE, (task["most_files"], task["most_files"]))
                try:
                    found = {"found": work(task)}
                except MemoryError:
                    found = {"kind": "out-of-memory", "detail": "no memory is left for it"}
                except Exception as error:
                    found = {"kind": "error", "detail": explained(error)}
                os.write(writer, json.dumps(found).encode() + b"\n")
            finally:
                os._exit(0)
        os.close(writer)
        peaks = memory.Peaks(os.getpid(), pid)
        try:
            said, stopped = watch(pid, reader, peaks, task)
        finally:
            os.close(reader)
            status = kill_all(pid)
            memory.remove_shared(peaks.alone)
        stderr.seek(0)
        tail = stderr.read()[-4000:]
    if stopped:
        raise Failed("error", unsaid(tail)) if unsaid(tail) else Failed(*stopped)
    if not said:
        raise Failed("signal", "the process died%s" % ended(status))
    result = json.loads(said)
    if "found" not in result:
        if memory.oom_kills() > killed_before:
            raise Failed("out-of-memory", "%s; the kernel killed a process for want of memory" % result["detail"])
        raise Failed(result["kind"], ("gave no batch" in result["detail"] and unsaid(tail)) or result["detail"])
    return dict(result["found"], memory=peaks.found())


def unsaid(tail):
    """What the queue of a worker prints where it cannot raise: the training waits for ever then. Empty if nothing."""
    if "Too many open files" in tail:
        return OUT_OF_FILES
    last = next((line for line in reversed(tail.splitlines()) if "pickle" in line), None)
    return last and "a batch cannot be sent from a worker: it holds what cannot be pickled; %s" % last.strip()[:300]


def watch(pid, reader, peaks, task):
    """Wait for its answer. Gives it, and why it was stopped: it took too long, or too much."""
    said = b""
    deadline = time.monotonic() + task["limit_s"]
    every = CLOSE_LOOK_S if task.get("memory") else LOOK_S
    limit = task.get("limit_bytes")
    while True:
        if select.select([reader], [], [], every)[0]:
            chunk = os.read(reader, 1 << 16)
            said += chunk
            if not chunk or said.endswith(b"\n"):
                return said, None
        elif os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return said, None  # it died, and what it started still holds the pipe
        held = peaks.look()
        if limit and held > limit:
            words = "stopped by hwdiag: it took %.2f GiB of the %.2f GiB that may be used"
            return said, ("out-of-memory", words % (held / 2**30, limit / 2**30))
        if time.monotonic() > deadline:
            return said, ("timeout", "no answer for %.0f s: killed" % task["limit_s"])


def kill_all(pid):
    """Kill the trial and all that it left; gives its status."""
    status = None
    deadline = time.monotonic() + KILL_S
    while time.monotonic() < deadline:
        others = memory.tree(os.getpid()) - {os.getpid()}
        for other in others:
            try:
                os.kill(other, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            while True:
                ended_pid, how = os.waitpid(-1, os.WNOHANG)
                if ended_pid == 0:
                    break
                status = how if ended_pid == pid else status
        except ChildProcessError:
            break
        time.sleep(0.002)
    return status


def ended(status):
    if status is None or not os.WIFSIGNALED(status):
        return " without an answer"
    return ": killed by %s" % signal.Signals(os.WTERMSIG(status)).name
