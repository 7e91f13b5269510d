"""Answers questions about the loading of data: ``done`` with ``found``, or ``failed`` with ``kind`` and ``detail``.

``find`` and ``read`` run in the agent itself; all else in a process of its own, forked once torch is imported, watched,
and killed with all that it started.
"""

import errno
import faulthandler
import importlib
import json
import os
import re
import resource
import select
import signal
import tempfile
import warnings

from .. import tree
from ..channel import one_line
from ..patience import Patience, more
from . import memory

LOOK_S = 0.25
"""How often the memory of a trial is looked at, so that one that takes too much is stopped."""
CLOSE_LOOK_S = 0.03
"""The same where memory is what is measured."""
OUT_OF_SHM = "/dev/shm is too small for the batches on their way: give the container more (--shm-size, --ipc=host)"
OUT_OF_FILES = (
    "too many open files: raise the limit (ulimit -n), or torch.multiprocessing.set_sharing_strategy('file_system')"
)


class Failed(Exception):
    def __init__(self, kind, detail):
        super().__init__(detail)
        self.kind = kind


def explained(error):
    """Return one line that says what is wrong, of an error that torch, the Dataset or the system raised."""
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
    said = one_line(error, 400)
    return said.partition(": ")[2] if isinstance(error, RuntimeError) else said


def here(channel, do, module, task):
    """Answer by a function of a module of this folder, in the agent itself."""
    answer(channel, do, lambda: getattr(importlib.import_module("." + module, __package__), do)(task))


def apart(channel, do, module, task):
    """Answer by a function of a module of this folder, in a process of its own."""

    def found():
        if module != "decoders":
            import torch.utils.data  # once, here: what is forked has it already  # noqa: F401
        work = getattr(importlib.import_module("." + module, __package__), do)
        return forked(work, task, channel)

    answer(channel, do, found)


def answer(channel, do, work):
    """Tell what the work found, or why it failed."""
    faulthandler.enable()
    warnings.simplefilter("ignore")
    tree.adopt_orphans()
    channel.tell("begin", workload=do)
    try:
        found = work()
    except Failed as error:
        channel.tell("failed", kind=error.kind, detail=str(error))
    except ImportError as error:
        channel.tell("failed", kind="import-error", detail=one_line(error, 400))
    except Exception as error:
        channel.tell("failed", kind="error", detail=explained(error))
    else:
        channel.tell("done", found=found)


def verb(how, do, module):
    """Return the verb that answers so."""
    return lambda channel, **task: how(channel, do, module, task)


VERBS = {
    "find": verb(here, "find", "reading"),
    "read": verb(here, "read", "reading"),
    "compare": verb(apart, "compare", "decoders"),
    "keep": verb(apart, "keep", "caching"),
    "look": verb(apart, "look", "loading"),
    "opened": verb(apart, "opened", "opened"),
    "trial": verb(apart, "trial", "loading"),
    "epochs": verb(apart, "epochs", "loading"),
    "fill": verb(apart, "fill", "loading"),
}


def forked(work, task, channel):
    """Run it in a process of its own. Gives what it found, with the memory that it held."""
    reader, writer = os.pipe()
    agent = os.getpid()
    killed_before = memory.oom_kills()
    with tempfile.TemporaryFile("w+", errors="replace") as stderr:
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reader)
                channel.close()
                tree.die_with_parent(agent)
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
        peaks = memory.Peaks(agent, pid)
        try:
            said, stopped, given_s = watch(pid, reader, peaks, task)
        finally:
            os.close(reader)
            status = tree.kill_below().get(pid)
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
            raise Failed("out-of-memory", "%s; the kernel killed a process for lack of memory" % result["detail"])
        raise Failed(result["kind"], ("gave no batch" in result["detail"] and unsaid(tail)) or result["detail"])
    return dict(result["found"], memory=peaks.found(), given_s=given_s)


def unsaid(tail):
    """Return the error that a worker's queue prints where it cannot raise, while the training waits for ever. Empty if
    there is none."""
    if "Too many open files" in tail:
        return OUT_OF_FILES
    last = next((line for line in reversed(tail.splitlines()) if "pickle" in line), None)
    return last and "a batch cannot be sent from a worker: it holds what cannot be pickled; %s" % last.strip()[:300]


def watch(pid, reader, peaks, task):
    """Wait for its answer. Gives it, why it was stopped (it took too long, or too much), and the seconds that it was
    given beyond its limit."""
    said = b""
    patience = Patience(pid, task["limit_s"], task.get("patience", 1.0))
    every = CLOSE_LOOK_S if task.get("memory") else LOOK_S
    limit = task.get("limit_bytes")
    while True:
        if select.select([reader], [], [], every)[0]:
            chunk = os.read(reader, 1 << 16)
            said += chunk
            if not chunk or said.endswith(b"\n"):
                return said, None, patience.given_s
        elif os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return said, None, patience.given_s  # it died, and what it started still holds the pipe
        held = peaks.look()
        if limit and held > limit:
            words = "stopped by hwdiag: it took %.2f GiB of the %.2f GiB that may be used"
            return said, ("out-of-memory", words % (held / 2**30, limit / 2**30)), patience.given_s
        if patience.is_over():
            asked_s, given_s = task["limit_s"], patience.given_s
            return said, ("timeout", "no answer for %.0f s%s: killed" % (asked_s + given_s, more(given_s))), given_s


def ended(status):
    if status is None or not os.WIFSIGNALED(status):
        return " without an answer"
    return ": killed by %s" % signal.Signals(os.WTERMSIG(status)).name
