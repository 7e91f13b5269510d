"""Measures workloads, each built, checked, warmed up, and sampled in short windows in turn with others.

The parent says ``measure.start``, then ``prepare`` and ``sample`` as often as it likes, each when the one before was
answered. With ``go_on`` the work goes on after the window, uncounted, until ``rest`` comes: so that of several agents
that are measured together, none is alone at the end. The parent may stop the whole process with SIGSTOP between two
commands.
"""

import gc
import importlib
import select
import signal
import time

from . import device_time, switches, techniques
from .accelerator import accelerator, in_use
from .applied import applied
from .channel import Ended
from .failures import WrongResult, failure, is_out_of_memory
from .torch_import import import_torch

MIN_SAMPLE_S = 0.002
"""Iterations are grouped until one sample lasts this long, so that the clock's cost (under 1 us) stays below 0.1 %."""
MIN_SAMPLE_ON_DEVICE_S = 0.005
"""The same of an accelerator, where waiting for it at the end costs up to 30 us."""
LONG_S = 0.02
"""An iteration of this length refills 32 MB of cache in less than a tenth of its time."""
MAX_SAMPLES = 200
SLICE_S = 0.05
"""Between two looks at the clock while work goes on for long."""
LOOSEST = {"same": 0.0, "reduced": 0.1, "quantised": 0.3}
"""Error of a result, relative to the largest, that is allowed at least, by what was asked for: bf16 through some fifty
layers, or integers; a wrong kernel is off by far more."""
LOOSEST_GRADIENTS = {"same": 0.0, "reduced": 1.0, "quantised": 2.0}
"""The same of all gradients together."""
CONTINUED = {signal.SIGCONT}
MODULES = ("workloads", "own_file", "kernels", "net_workloads")
"""In which the builders of workloads are looked for; the first has what most runs measure, the others take longer."""


def builder(kind):
    """Return the builder of this kind of workload. Raises KeyError where there is none."""
    for name in MODULES:
        found = importlib.import_module("." + name, __package__).BUILDERS.get(kind)
        if found is not None:
            return found
    raise KeyError("no workload of kind %r" % kind)


def was_continued():
    """Return whether this process was stopped and continued since it was asked last."""
    return signal.sigtimedwait(CONTINUED, 0) is not None


def peak_rss():
    """Return the peak of this process in bytes. getrusage's figure would be the parent's, where that was larger when it
    started this process."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def time_loop(step, synchronize, loops):
    """Return the seconds per iteration of ``loops`` iterations."""
    synchronize()
    start = time.perf_counter()
    for _ in range(loops):
        step()
    synchronize()
    return (time.perf_counter() - start) / loops


def warm_up(step, synchronize, seconds, least_s=MIN_SAMPLE_S):
    """Run until ``seconds`` have passed, at least twice, doubling the loops until a sample is ``least_s`` long."""
    loops, done, start = 1, 0, time.perf_counter()
    while done < 2 or time.perf_counter() - start < seconds:
        each = time_loop(step, synchronize, loops)
        done += loops
        if each * loops < least_s:
            loops *= 2
    return loops, done, each


def checked(compare):
    """Return error and tolerance; none where memory does not hold the reference beside the workload."""
    try:
        return compare()
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            return None, None
        raise


class Prepared:
    """A workload that is built, checked and warm."""

    def __init__(self, torch, device, workload, *, check, warmup_s, accuracy="same"):
        self.torch, self.accelerator = torch, accelerator(torch, device)
        if self.accelerator is not None:
            self.accelerator.make_current()
        build = builder(workload["kind"])
        more = {key: workload[key] for key in ("path", "what") if workload.get(key)}
        self.step, compare = build(
            torch, torch.device(device), getattr(torch, workload["dtype"]), **workload["size"], **more
        )
        if workload["kind"] == "file" and self.accelerator is None:
            self.accelerator = in_use(torch)  # its own choice
        self.synchronize()
        start = time.perf_counter()
        self.step()
        if workload["kind"] == "file":
            self.accelerator = in_use(torch)  # also those that it first uses in a call
        self.synchronize()
        self.first_s = time.perf_counter() - start
        self.max_error = self.tolerance = None
        if check:
            self.max_error, self.tolerance = checked(compare)
            if self.tolerance is not None:
                self.tolerance = max(
                    self.tolerance, (LOOSEST_GRADIENTS if workload["kind"] == "training" else LOOSEST)[accuracy]
                )
            if self.max_error is not None and not self.max_error <= self.tolerance:  # also true for NaN
                raise WrongResult("relative error %.3g, allowed %.3g" % (self.max_error, self.tolerance))
        if self.accelerator is not None:
            self.accelerator.forget_peak()  # of what the reference took
        least_s = MIN_SAMPLE_S if self.accelerator is None else MIN_SAMPLE_ON_DEVICE_S
        self.loops, self.warmup, self.each_s = warm_up(self.step, self.synchronize, warmup_s, least_s)

    def synchronize(self):
        """Wait until the device has done all that it was asked for."""
        if self.accelerator is not None:
            self.accelerator.synchronize()

    def sample(self, seconds, min_samples):
        """Return the seconds per iteration, one value per group of iterations, for about ``seconds``.

        Short iterations begin with one that is not counted: another process may have had the caches, and the threads
        were asleep. Of a long one that is a small part.
        """
        if self.each_s < LONG_S:
            time_loop(self.step, self.synchronize, 1)
        samples, start = [], time.perf_counter()
        while len(samples) < min_samples or (time.perf_counter() - start < seconds and len(samples) < MAX_SAMPLES):
            samples.append(time_loop(self.step, self.synchronize, self.loops))
        return samples

    def go_on_until(self, commands):
        """Keep working until another line waits to be read."""
        while not select.select([commands], [], [], 0)[0]:
            self.step()
        self.synchronize()

    def sustained(self, seconds):
        """Return moments, in seconds from now, and the seconds per iteration in the time before each, without a
        rest."""
        points, start = [], time.perf_counter()
        while not points or points[-1][0] < seconds:
            loops = max(1, int(SLICE_S / self.each_s))
            each = time_loop(self.step, self.synchronize, loops)
            points.append((time.perf_counter() - start, each))
        return points


class Session:
    """The state of one agent's measurements: empty before ``start``."""

    def __init__(self):
        self.torch = self.device = self.prepared = self.name = self.accelerator = None
        self.accuracy, self.restore = "same", None

    def start(self, channel, device, seed, interop_threads=None, used=(), accuracy="same"):
        """Import torch, and tell what of the Launch took effect. ``used``: names of techniques."""
        techniques.USED[:] = used
        self.accuracy = accuracy
        signal.pthread_sigmask(signal.SIG_BLOCK, CONTINUED)  # by all threads of torch, too: it stays pending
        torch = import_torch(channel)
        if torch is None:
            raise Ended
        if interop_threads:
            torch.set_num_interop_threads(interop_threads)
        channel.tell(
            "applied",
            threads=torch.get_num_threads(),
            interop_threads=torch.get_num_interop_threads(),
            capability=torch.backends.cpu.get_cpu_capability(),
            **applied(),
        )
        torch.manual_seed(seed)
        gc.disable()  # a collection costs some 30 ms, in the middle of a sample
        self.torch, self.device, self.restore = torch, device, switches.kept(torch)

    def prepare(self, channel, workload, check, warmup_s):
        """Build, check and warm up one workload."""
        self.prepared, self.name = None, workload["name"]
        self.restore()
        gc.collect()
        channel.tell("begin", workload=self.name)
        self.prepared = Prepared(
            self.torch, self.device, workload, accuracy=self.accuracy, check=check, warmup_s=warmup_s
        )
        about = {key: getattr(self.prepared, key) for key in ("max_error", "tolerance", "warmup", "first_s")}
        about["accelerator"] = getattr(self.prepared.accelerator, "name", None)
        channel.tell("ready", workload=self.name, threads=self.torch.get_num_threads(), **about)

    def sample(self, channel, seconds, min_samples, go_on=False):
        """Measure one window, and tell whether somebody stopped this process within it."""
        was_continued()  # by the parent, which stops it between two windows
        found = self.prepared.sample(seconds, min_samples)
        stopped = was_continued()
        used = self.prepared.accelerator
        peaks = {"peak_rss_bytes": peak_rss(), "peak_device_bytes": None if used is None else used.peak_bytes()}
        channel.tell("window", workload=self.name, seconds=found, stopped=stopped, **peaks)
        if go_on:
            self.prepared.go_on_until(channel.commands)

    def on_device(self, channel):
        """Tell the times of the device itself, beside the wall clock's."""
        prepared = self.prepared
        found = device_time.timed(self.torch, prepared.accelerator, prepared.step, prepared.loops)
        channel.tell("on-device", workload=self.name, **found)

    def sustain(self, channel, seconds):
        """Work for so long without a rest, and tell how fast it was all along."""
        channel.tell("sustained", workload=self.name, points=self.prepared.sustained(seconds))

    def rest(self, channel):
        """Say that the work does not go on."""
        channel.tell("rested")

    def is_broken(self):
        """Return whether an accelerator refuses all work from now on, as after an assertion in a kernel: only another
        process helps."""
        used = accelerator(self.torch, self.device or "cpu") or (self.torch and in_use(self.torch))
        if not used:
            return False
        try:
            self.torch.zeros(1, device=used.name)
            used.synchronize()
        except Exception as error:
            return not is_out_of_memory(error)
        return False


def guarded(verb):
    """Return the verb, which tells with its failure whether anything else can be measured in this process."""

    def run(channel, **given):
        try:
            verb(channel, **given)
        except Exception as error:
            session.prepared = None
            kind, detail = failure(error)
            channel.tell("failed", kind=kind, detail=detail, broken=session.is_broken())

    return run


session = Session()
VERBS = {
    "start": session.start,
    "prepare": guarded(session.prepare),
    "sample": guarded(session.sample),
    "on_device": guarded(session.on_device),
    "sustain": guarded(session.sustain),
    "rest": session.rest,
}
