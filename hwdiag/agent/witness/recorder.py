"""Records what PyTorch does for a while, by its own profiler, with all threads where this torch can.

The profiler runs from the import of torch on, so that nothing is lost, and costs nothing while there is no operation.
The clock of the recording starts when the first operations are seen. torch.profiler itself is not used: its start
imports torch._inductor and sympy, which takes seconds and shows in ``sys.modules``.
"""

import _thread
import contextlib
import ctypes
import os
import time

from . import live
from .c_exit import without_destructors

CUDA_WAIT_S = 2.0
"""How long, where torch was built for a GPU, the script may take to start using it. Started before that, the profiler
would initialise the GPU's driver, and the script could no longer choose its devices, or fork."""
SETTLE_S, SETTLE_MOST_S = 0.3, 3.0
"""Seconds from the first operation on in which growth is not counted: weights and buffers come into being. Of a
training until its second step begins, since gradients and states come with the first, but no longer than the most."""
WEIGH_S = 0.25
"""Between two looks at the sizes of all tensors, which take some 10 ms."""
UNSEEN = 8
"""So many times may it grow while no net is seen at work: what is imported and loaded before is no event."""
WRITING_S = 20.0
"""The longest that the end of the process waits for a trace that another thread writes."""
OFTEN_S, STEADY_BYTES = 2.0, 1 << 20
"""Where nothing is imported for so long, and the tensors grow by so little, operations are the program's work, though
no net is seen: what loads a model makes tensors."""


class TraceRecorder:
    """The one recording of this process.

    One only: what the script has open when a recording ends would be taken for a part of the next one, and crash it.
    """

    def __init__(self, torch, task, path, witness):
        self.torch, self.task, self.path, self.tell = torch, task, path, witness.tell
        self.hear_of_exit = witness.hear_of_exit
        self.seconds, self.after = float(task["seconds"]), float(task.get("after", 0))
        self.patience = float(task.get("patience", 1))
        self.growth = int(task.get("growth", 1 << 30))
        self.began = time.monotonic()
        self.profile = self.asked = None
        self.weak = self.strong = self.size = None
        self.tensors, self.weighed, self.quiet = 0, 0.0, None
        self.over = False
        self.writing, self.writer = _thread.allocate_lock(), None
        self.callbacks = []
        self.all_threads, self.why_not_all = all_threads_config(torch) if task.get("all_threads", True) else (None, "")
        self.gpu_build = bool(torch.version.cuda or getattr(torch.version, "hip", None))

    # Its beginning

    def imported(self):
        """torch was imported by this thread, the one in which the profiler must begin."""
        if not self.gpu_build and not self.after:
            self.start()

    def start(self):
        """Begin to record."""
        if self.over or self.profile is not None:
            return
        profiler = self.torch.autograd.profiler
        if self.torch.autograd._profiler_enabled():
            self.end("the program's own profiler")
            return
        # The profiler reports no allocations while it records all threads.
        options = {"record_shapes": True, "profile_memory": bool(self.task.get("memory")) and self.all_threads is None}
        if self.all_threads is not None:
            options["experimental_config"] = self.all_threads
        if self.gpu_build and self.torch.cuda.is_available():
            options.update(device_option(profiler))
        self.give_way()
        profile = profiler.profile(use_kineto=True, **options)
        self.own = True
        try:
            profile.__enter__()
        finally:
            self.own = False
        self.hear_of_exit()
        self.profile, self.started, self.size_at_start = profile, time.monotonic(), anonymous()
        self.tell(state="recording", all_threads=self.all_threads is not None, not_all=self.why_not_all)

    def give_way(self):
        """End the recording where the program starts the profiler itself: it can run once at a time."""
        profiler = self.torch.autograd.profiler
        for name in ("_prepare_profiler", "_enable_profiler"):
            real = getattr(profiler, name, None)
            if real is not None:
                setattr(profiler, name, self.giving_way(real))

    def giving_way(self, real):
        def wrapper(*args, **kwargs):
            if not self.own and not self.over:
                with contextlib.suppress(Exception):
                    self.end("the program's own profiler")
            return real(*args, **kwargs)

        return wrapper

    # Its end

    def watch(self, seen, now, first_step=False, importing=False):
        """Called every now and then by the witness's thread: begin and end when it is time.

        Args:
            seen: 0 no operation yet, 1 some operation or tensor, 2 a net at work.
            now: the time.
            first_step: whether a training is within its first step.
            importing: whether a module is being imported.
        """
        if self.over:
            return
        if self.profile is None:
            waited = now - self.began
            ready = not self.gpu_build or waited > CUDA_WAIT_S or self.torch.cuda.is_initialized()
            if ready and waited >= self.after:
                self.ask(self.start, "start")
            return
        if seen and self.weak is None:
            self.weak = now
        if self.weak is None:
            if anonymous() - self.size_at_start > UNSEEN * self.growth:
                self.stop("its size")
            return
        if self.strong is None and (seen == 2 or self.is_busy(now, importing)):
            self.strong, self.size = now, None
            self.tell(loop_s=round(now - self.started, 3))
        settled = now - (self.strong or self.weak)
        if self.size is None and settled > (SETTLE_MOST_S if first_step else SETTLE_S):
            self.size, self.tensors = anonymous(), tensor_bytes(self.torch)
        if now >= self.until():
            self.stop("its time")
        elif self.size is not None and self.grew(self.growth * (1 if self.strong else UNSEEN), now):
            self.stop("its size")

    def until(self):
        """Return when the recording ends by its time."""
        return self.weak + self.patience * self.seconds if self.strong is None else self.strong + self.seconds

    def is_busy(self, now, importing):
        """Return whether operations are the program's work: its tensors came into being, and nothing is imported."""
        if self.quiet is None or importing:
            self.quiet = (now, None if importing else tensor_bytes(self.torch))
        since, tensors = self.quiet
        if now - since < OFTEN_S:
            return False
        self.quiet = None
        return tensors is not None and tensor_bytes(self.torch) - tensors <= STEADY_BYTES

    def grew(self, most, now):
        """Return whether the recording takes more than that: what the process grew by, without its tensors."""
        if anonymous() - self.size <= most or now - self.weighed < WEIGH_S:
            return False
        self.weighed = now
        tensors = tensor_bytes(self.torch)
        self.size += max(0, tensors - self.tensors)
        self.tensors = tensors
        return anonymous() - self.size > most

    def stop(self, why):
        """End it from the witness's thread: there, or in the main thread where the recording is that thread's own."""
        if self.all_threads is not None:
            self.quietly(lambda: self.end(why))
        else:
            self.ask(lambda: self.end(why), "end")

    def ask(self, function, what):
        """Make the main thread call this between two of its instructions, once."""
        if self.asked != what:
            self.asked = what
            callback = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda _: self.quietly(function))
            self.callbacks.append(callback)  # it must outlive its call
            ctypes.pythonapi.Py_AddPendingCall(callback, None)

    def quietly(self, function):
        """Return 0, whatever goes wrong: the script must not see it."""
        try:
            function()
        except BaseException as error:
            self.over = True
            self.tell(state="failed", error="%s: %s" % (type(error).__name__, str(error)[:300]))
        return 0

    def end(self, why):
        """End the recording and write it; the second time, wait until another thread has written it."""
        if self.over:
            if self.writer != _thread.get_ident() and self.writing.acquire(timeout=WRITING_S):
                self.writing.release()
            return
        self.over = True
        if self.profile is None:
            self.tell(state="nothing", why=why)
            return
        self.writer = _thread.get_ident()
        with self.writing:
            self.write(why)

    def write(self, why):
        """End the profiler and write what it recorded."""
        took = time.monotonic()
        try:
            found = self.torch.autograd._disable_profiler()
            note_end(self.torch.autograd.profiler)
            found.save(self.path)
            error = "" if ends_well(self.path) else "the profiler did not write it to its end: is the disk full?"
        except BaseException as failure:
            error = "%s: %s" % (type(failure).__name__, str(failure)[:300])
        if error:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        now = time.monotonic()
        self.tell(
            state="failed" if error else "written",
            error=error,
            why=why,
            recorded_s=round(took - (self.weak or self.started), 3),
            written_s=round(now - took, 3),
        )

    def discard(self):
        """End it from the witness's thread, and write nothing."""
        if self.profile is None or self.over:
            self.over = True
        elif self.all_threads is not None:
            self.over = True
            self.torch.autograd._disable_profiler()
            note_end(self.torch.autograd.profiler)
        else:
            self.stop("its time")

    def forked(self):
        """In a forked child, end what it inherited, or it records into memory for as long as it lives."""
        if self.profile is None:
            return
        without_destructors()
        if self.over:
            return
        self.over = True
        if not self.gpu_build:
            self.torch.autograd._disable_profiler()
            note_end(self.torch.autograd.profiler)


def all_threads_config(torch):
    """Return what has the profiler record all threads, or None, and why not."""
    try:
        from torch._C._profiler import _ExperimentalConfig

        return _ExperimentalConfig(profile_all_threads=True), ""
    except (ImportError, TypeError):
        return None, "PyTorch %s records only the thread that imported it, and its backward passes" % torch.__version__


def device_option(profiler):
    """Return what has the profiler record the GPU too: the name of this argument changed."""
    import inspect

    known = inspect.signature(profiler.profile.__init__).parameters
    return {"use_device": "cuda"} if "use_device" in known else {"use_cuda": True}


def note_end(profiler):
    """Say to torch what leaving its context manager says: no profiler is at work."""
    end = getattr(profiler, "_run_on_profiler_stop", None)
    if end is not None:
        end()


def anonymous():
    """Return the bytes of this process in memory that are of no file: importing libraries maps many that are."""
    with open("/proc/self/statm") as file:
        words = file.read().split()
    return (int(words[1]) - int(words[2])) * os.sysconf("SC_PAGE_SIZE")


def tensor_bytes(torch):
    """Return the bytes of the live tensors on the CPU that Python knows."""
    found = {}
    for tensor in live.of_kinds({torch.Tensor, torch.nn.Parameter}):
        try:
            if tensor.device.type == "cpu":
                storage = tensor.untyped_storage()
                found[storage.data_ptr()] = storage.nbytes()
        except Exception:  # of another kind, or older torch
            continue
    return sum(found.values())


def ends_well(path):
    """Return whether the trace is whole: the profiler says nothing when the disk is full."""
    if not os.path.exists(path):
        return False
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 16))
        return file.read().rstrip().endswith(b"}")
