"""The witness of this process: begins its instruments, writes what they saw, and ends with the process."""

import _thread
import atexit
import contextlib
import json
import os
import signal
import sys
import time

from . import TASK
from .c_exit import before_c_exit
from .facts import distributed, facts
from .objects import Objects
from .recorder import WRITING_S, TraceRecorder
from .sampler import StackSampler


class ProcessWitness:
    """The witness of this process."""

    def __init__(self, task, torch):
        self.task, self.torch, self.pid = task, torch, os.getpid()
        self.folder = task["folder"]
        self.name = "hwdiag_%d.%d" % (self.pid, time.time_ns())
        self.began = time.monotonic()
        self.done = False
        self.told = {
            "pid": self.pid,
            "argv": [str(word)[:1000] for word in list(getattr(sys, "orig_argv", None) or sys.argv)[:40]],
            "python": sys.executable,
            "torch": str(torch.__version__),
            "state": "imported",
            "why": "",
            "error": "",
        }
        self.ending = _thread.allocate_lock()
        self.ender = None
        path = os.path.join(self.folder, self.name + ".pt.trace.json")
        self.recorder = TraceRecorder(torch, task["record"], path, self) if task.get("record") else None
        self.objects = Objects(torch, task["look"]) if task.get("look") else None
        self.sampler = StackSampler(self, task["sample"]) if task.get("sample") else None

    def begin(self):
        self.tell()
        atexit.register(self.finish, "its end")
        self.guard()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forked)
        if self.recorder is not None:
            self.recorder.quietly(self.recorder.imported)
        self.hear_of_exit()
        if self.sampler is not None or self.recorder is not None:
            (self.sampler or StackSampler(self, {"rate": 5, "stacks": False})).start()

    # What was seen

    def tell(self, **more):
        """Write the report anew; a full disk is found out by whoever misses it."""
        self.told.update(more)
        self.told["at_s"] = round(time.monotonic() - self.began, 3)
        target = os.path.join(self.folder, self.name + ".report.json")
        own = "%s.%d" % (target, _thread.get_ident())
        try:
            with open(own, "w") as file:
                file.write(json.dumps(self.told, default=str))  # five times as fast as json.dump
            os.replace(own, target)
        except (OSError, ValueError):
            with contextlib.suppress(OSError):
                os.unlink(own)

    def look(self):
        """Gather what the instruments know now. A process group may be gone at the end."""
        with contextlib.suppress(Exception):
            self.told["group"] = distributed(self.torch) or self.told.get("group")
        if self.sampler is not None:
            self.told.update(self.sampler.found())
        if self.objects is not None:
            self.told["growth"] = self.objects.found()

    # Its end

    def finish(self, why):
        """Say all that was seen; nothing the second time, or in a forked child."""
        if self.done or os.getpid() != self.pid or self.ender == _thread.get_ident():
            return
        if not self.ending.acquire(timeout=WRITING_S):
            return
        self.ender = _thread.get_ident()
        try:
            if self.done:
                return
            if is_loader_worker():
                self.withdraw()
                return
            self.done = True
            self.told["end"] = why
            with contextlib.suppress(Exception):
                if self.recorder is not None:
                    self.recorder.end(why)
            with contextlib.suppress(Exception):
                if self.sampler is not None:
                    self.sampler.stop()
                if self.objects is not None:
                    self.objects.last()
            with contextlib.suppress(Exception):
                self.told["facts"] = facts(self.torch)
            with contextlib.suppress(Exception):
                self.look()
            self.tell(ended=True)
        except Exception:
            pass
        finally:
            self.ender = None
            self.ending.release()

    def withdraw(self):
        """Look no more, and leave no word: this is a worker of a DataLoader, which its training tells of."""
        self.done = True
        if self.sampler is not None:
            self.sampler.stop()
        if self.recorder is not None:
            self.recorder.discard()
        for name in os.listdir(self.folder):
            if name.startswith("hwdiag_%d." % self.pid):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(self.folder, name))

    def forked(self):
        """In a forked child: no thread of ours is there, and nothing of the parent's is recorded on."""
        self.done = True
        with contextlib.suppress(Exception):
            if self.recorder is not None:
                self.recorder.forked()

    def hear_of_exit(self):
        """Be called at exit(3), before what was registered until now: the profiler is still whole."""
        before_c_exit(self.exited)

    def exited(self):
        """C code ends this process, or a child that C code forked."""
        if os.getpid() == self.pid:
            self.finish("exit()")
        else:
            self.forked()

    def guard(self):
        """Hear of the ends that Python's own end does not see."""
        for name in ("_exit", "execv", "execve"):
            setattr(os, name, self.before(getattr(os, name), "os." + name))
        with contextlib.suppress(ValueError):  # not in the main thread
            if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
                signal.signal(signal.SIGTERM, self.terminated)

    def before(self, function, name):
        def wrapper(*args, **kwargs):
            self.finish(name)
            return function(*args, **kwargs)

        return wrapper

    def terminated(self, number, frame):
        self.finish("SIGTERM")
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # which is a forked worker's own, not ours


def is_loader_worker():
    """Return whether this process is a worker of a DataLoader, or was one until now."""
    return getattr(sys.modules.get("torch.utils.data._utils.worker"), "_worker_info", None) is not None


def begin(torch):
    """Begin to look at this process; where its torch lacks what that takes, say so in place of it."""
    task = json.loads(os.environ[TASK])
    try:
        witness = ProcessWitness(task, torch)
    except Exception as error:
        left_without(task, torch, "%s: %s" % (type(error).__name__, error))
    else:
        witness.begin()


def left_without(task, torch, error):
    """Leave word that this process cannot be looked at."""
    version = str(getattr(torch, "__version__", ""))
    told = {
        "pid": os.getpid(),
        "argv": [str(word)[:1000] for word in sys.argv[:40]],
        "python": sys.executable,
        "torch": version,
        "state": "failed",
        "error": "PyTorch %s lacks what is needed to look at it from inside: %s" % (version, error),
    }
    name = "hwdiag_%d.%d.report.json" % (os.getpid(), time.time_ns())
    with open(os.path.join(task["folder"], name), "w") as file:
        json.dump(told, file)
