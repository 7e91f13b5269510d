"""Puts a Python process that knows nothing of it under torch.profiler. Standard library and torch only, any Python.

Two ways in, both with a task as JSON in ``HWDIAG_TRACE``, {"folder": ..., "seconds": 5, "events": 200000}:

- copied as ``sitecustomize.py`` into a folder at the front of PYTHONPATH, it waits for torch to be imported and records
  from then on, or ``after`` so many seconds, for ``seconds``. The script itself is not changed.
- ``tracer.py FILE`` calls what ``build()`` of this file gives, as often as fits.

Each process that imports torch leaves ``NAME.status.json`` in the folder, and NAME.pt.trace.json: Perfetto and Chrome
open it, and TensorBoard's PyTorch plugin finds it by this ending. torch.profiler.tensorboard_trace_handler would write
the same file, but needs a schedule of steps, and a script that nobody changes names no steps.
"""

import atexit
import contextlib
import ctypes
import importlib.abc
import importlib.machinery
import json
import os
import signal
import sys
import threading
import time

TASK = "HWDIAG_TRACE"
MOST_GROWTH = 1 << 30
"""Bytes that the process may grow by while it is recorded; a million events a second are possible, of some 300 each."""
PER_EVENT = 3
"""Events of the trace for each that the profiler counts: what it allocates and frees comes on top."""
WARM_S = 1.0
"""Seconds of calls of a ``build()`` that are not recorded."""
CUDA_WAIT_S = 2.0
"""How long, where torch was built for a GPU, the script may take to start using it. Started before that, the profiler
would initialise the GPU's driver, and the script could no longer choose its devices, or fork."""
POLL_S = 0.02


class Tracer:
    """The recording of this process."""

    def __init__(self, task):
        self.folder, self.seconds, self.events = task["folder"], float(task["seconds"]), int(task["events"])
        self.pid = os.getpid()
        self.name = "hwdiag_%d.%d" % (self.pid, time.time_ns())
        self.after = float(task.get("after", 0))
        self.profile = self.torch = self.until = None
        self.done = False
        self.callbacks = []
        self.told = {"pid": self.pid, "argv": list(getattr(sys, "orig_argv", sys.argv))[:40], "why": "", "error": ""}

    def tell(self, **more):
        """Leave word of how it stands; a full disk is found out by whoever misses it."""
        self.told.update(more)
        with contextlib.suppress(OSError), open(os.path.join(self.folder, self.name + ".status.json"), "w") as file:
            json.dump(self.told, file)

    # Recording

    def imported(self, torch):
        """Record from now on, when torch is imported, or when it begins to use its GPU."""
        self.torch = torch
        self.tell(state="imported", torch=str(torch.__version__))
        atexit.register(self.finish, "its end")
        self.guard()
        gpu_build = bool(torch.version.cuda or getattr(torch.version, "hip", None))
        if not gpu_build and not self.after and threading.current_thread() is threading.main_thread():
            self.start()
        threading.Thread(target=self.watch, args=(gpu_build,), daemon=True).start()

    def start(self):
        """Begin to record, in the main thread. Once only: what the script has open when a recording ends would be
        taken for a part of the next one, and crash it."""
        if self.done or self.profile is not None:
            return
        profiler = self.torch.profiler
        self.profile = profiler.profile(activities=profiler.supported_activities(), profile_memory=True)
        self.size = resident()
        self.profile.start()
        self.until = time.monotonic() + self.seconds
        self.tell(state="recording")

    def watch(self, gpu_build):
        """Ask the main thread, from a thread of its own, to begin and to end when it is time."""
        asked, began = None, time.monotonic()
        while not self.done:
            time.sleep(POLL_S)
            waited = time.monotonic() - began
            if self.until is None:
                ready = not gpu_build or waited > CUDA_WAIT_S or self.torch.cuda.is_initialized()
                if ready and waited >= self.after:
                    asked = self.ask(self.start, asked, "start")
            elif time.monotonic() >= self.until:
                asked = self.ask(lambda: self.finish("its time"), asked, "end")
            elif resident() - self.size > MOST_GROWTH:
                asked = self.ask(lambda: self.finish("its size"), asked, "end")

    def ask(self, function, asked, what):
        """Make the main thread call this between two of its instructions, once."""
        if asked != what:
            callback = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda _: self.quietly(function))
            self.callbacks.append(callback)  # it must outlive its call
            ctypes.pythonapi.Py_AddPendingCall(callback, None)
        return what

    def quietly(self, function):
        """Call this and return 0, whatever goes wrong: the script must not see it."""
        try:
            function()
        except BaseException as error:
            self.done = True
            self.tell(state="failed", error="%s: %s" % (type(error).__name__, str(error)[:300]))
        return 0

    def finish(self, why):
        """End the recording and write it; does nothing the second time, or in a forked child."""
        if self.done or os.getpid() != self.pid:
            return
        self.done = True
        if self.profile is None:
            self.tell(state="nothing", why=why)
            return
        path = os.path.join(self.folder, self.name + ".pt.trace.json")
        try:
            self.profile.stop()
            self.profile.export_chrome_trace(path)
            error = "" if ends_well(path) else "the profiler did not write it to its end: is the disk full?"
        except BaseException as failure:
            error = "%s: %s" % (type(failure).__name__, str(failure)[:300])
        if error:
            with contextlib.suppress(OSError):
                os.unlink(path)
        self.tell(state="failed" if error else "written", error=error, why=why)

    # Ends that Python's own end does not see

    def guard(self):
        for name in ("_exit", "execv", "execve"):
            setattr(os, name, self.before(getattr(os, name), "os." + name))
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
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


def resident():
    """Return the bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def ends_well(path):
    """Return whether the trace is whole: the profiler says nothing when the disk is full."""
    if not os.path.exists(path):
        return False
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 16))
        return file.read().rstrip().endswith(b"}")


class WaitForTorch(importlib.abc.MetaPathFinder):
    """Calls ``then(torch)`` once torch has been imported, and is gone."""

    def __init__(self, then):
        self.then = then

    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            with contextlib.suppress(Exception):  # a torch that has no profiler runs on without
                self.then(module)

        spec.loader.exec_module = exec_module
        return spec


def is_worker():
    """Return whether this is a process that multiprocessing started: a DataLoader's worker, a resource tracker."""
    argv = getattr(sys, "orig_argv", None)
    if argv is None:
        with open("/proc/self/cmdline", errors="replace") as file:
            argv = file.read().split("\0")
    return "-c" in argv and "multiprocessing" in " ".join(argv)


def inject():
    """Wait for torch, as sitecustomize, and run the sitecustomize that this one hides."""
    folder = os.path.dirname(os.path.abspath(__file__))
    here = [p for p in sys.path if os.path.abspath(p) == folder]
    for path in here:
        sys.path.remove(path)
    if not is_worker():
        tracer = Tracer(json.loads(os.environ[TASK]))
        sys.meta_path.insert(0, WaitForTorch(tracer.imported))
        tracer.tell(state="started")
    mine = sys.modules.pop("sitecustomize")
    with contextlib.suppress(ImportError):
        import sitecustomize  # noqa: F401
    sys.modules.setdefault("sitecustomize", mine)


# A file with build()


def run_file(path):
    """Call what ``build()`` gives, warm, as often as fits the time and the events."""
    tracer = Tracer(json.loads(os.environ[TASK]))
    tracer.tell(state="started")
    try:
        import torch
    except ImportError as error:
        return tracer.tell(state="failed", error="torch cannot be imported: %s" % error)
    tracer.torch = torch
    tracer.tell(state="imported", torch=str(torch.__version__))
    try:
        return call(tracer, path)
    except BaseException as error:
        tracer.tell(state="failed", error="%s fails: %s: %s" % (os.path.basename(path), type(error).__name__, error))
        raise


def call(tracer, path):
    import runpy

    torch = tracer.torch
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    build = runpy.run_path(path).get("build")
    if not callable(build):
        raise AttributeError("it has no function build()")
    work = build()
    work = work[0] if isinstance(work, tuple) else work
    began, calls = time.monotonic(), 0
    while calls < 3 or (time.monotonic() - began < WARM_S and calls < 1000):
        work()
        calls += 1
    seconds = (time.monotonic() - began) / calls
    with torch.profiler.profile(activities=torch.profiler.supported_activities(), profile_memory=True) as probe:
        work()
    each = max(1, PER_EVENT * len(probe.profiler.kineto_results.events()))
    steps = max(1, min(int(tracer.seconds / seconds), tracer.events // each, 1000))
    tracer.start()
    for step in range(steps):
        with torch.profiler.record_function("ProfilerStep#%d" % step):
            work()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    tracer.told["steps"] = steps
    return tracer.finish("its end")


if __name__ == "__main__":
    run_file(sys.argv[1])
elif __name__ == "sitecustomize" and TASK in os.environ:
    inject()
