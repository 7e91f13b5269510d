"""Measures workloads, each built, checked, warmed up, and sampled in short windows in turn with others.

The parent says ``measure.start``, then ``prepare`` and ``sample`` as often as it likes, each when the one before was
answered. With ``go_on`` the work goes on after the window, uncounted, until ``rest`` comes: so that of several agents
that are measured together, none is alone at the end. The parent may stop the whole process with SIGSTOP between two
commands.
"""

import gc
import importlib
import select
import time

from . import switches, techniques
from .applied import applied
from .channel import Ended
from .failures import WrongResult, is_out_of_memory
from .torch_import import import_torch

MIN_SAMPLE_S = 0.002
"""Iterations are grouped until one sample lasts this long, so that the clock's cost (under 1 us) stays below 0.1 %."""
LONG_S = 0.02
"""An iteration of this length refills 32 MB of cache in less than a tenth of its time."""
MAX_SAMPLES = 200
LOOSEST = {"same": 0.0, "reduced": 0.1, "quantised": 0.3}
"""Error of a result, relative to the largest, that is allowed at least, by what was asked for: bf16 through some fifty
layers, or integers; a wrong kernel is off by far more."""
LOOSEST_GRADIENTS = {"same": 0.0, "reduced": 1.0, "quantised": 2.0}
"""The same of all gradients together."""
MODULES = ("workloads", "own_file", "kernels", "net_workloads")
"""In which the builders of workloads are looked for; the first has what most runs measure, the others take longer."""


def builder(kind):
    """Return the builder of this kind of workload. Raises KeyError where there is none."""
    for name in MODULES:
        found = importlib.import_module("." + name, __package__).BUILDERS.get(kind)
        if found is not None:
            return found
    raise KeyError("no workload of kind %r" % kind)


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


def warm_up(step, synchronize, seconds):
    """Run until ``seconds`` have passed, at least twice, doubling the loops until a sample is long enough."""
    loops, done, start = 1, 0, time.perf_counter()
    while done < 2 or time.perf_counter() - start < seconds:
        each = time_loop(step, synchronize, loops)
        done += loops
        if each * loops < MIN_SAMPLE_S:
            loops *= 2
    return loops, done, each


def accelerator(torch, device):
    """Return torch's module that waits for this device and counts its memory, whoever made it; None for the CPU."""
    if device in ("cpu", "meta"):
        return None
    return getattr(torch, "accelerator", None) or torch.cuda  # before torch 2.6 there is only the latter


def checked(compare):
    """Return error and tolerance; none where memory does not hold the reference beside the workload."""
    try:
        return compare()
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            return None, None
        raise


def in_use(torch):
    """Return the accelerator that the person's code has begun to use; None where it uses none."""
    for name in ("cuda", "xpu"):
        module = getattr(torch, name, None)
        if module is not None and getattr(module, "is_initialized", bool)():
            return module
    return None


class Prepared:
    """A workload that is built, checked and warm."""

    def __init__(self, torch, device, workload, *, check, warmup_s, accuracy="same"):
        self.device, self.accelerator = device, accelerator(torch, device)
        build = builder(workload["kind"])
        more = {key: workload[key] for key in ("path", "what") if workload.get(key)}
        self.step, compare = build(
            torch, torch.device(device), getattr(torch, workload["dtype"]), **workload["size"], **more
        )
        if workload["kind"] == "file" and self.accelerator is None:
            self.accelerator, self.device = in_use(torch), None  # its own choice; None is the current device
        self.synchronize()
        start = time.perf_counter()
        self.step()
        if workload["kind"] == "file" and self.accelerator is None:
            self.accelerator = in_use(torch)  # one that it first uses in a call
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
        if hasattr(self.accelerator, "reset_peak_memory_stats"):
            self.accelerator.empty_cache()  # of what the reference took
            self.accelerator.reset_peak_memory_stats(self.device)
        self.loops, self.warmup, self.each_s = warm_up(self.step, self.synchronize, warmup_s)

    def synchronize(self):
        """Wait until the device has done all that it was asked for."""
        if self.accelerator is not None:
            self.accelerator.synchronize(self.device)

    def peak_device_bytes(self):
        """Return the most that torch held on an accelerator since this was checked: what others cannot have, used or
        not."""
        counts = hasattr(self.accelerator, "max_memory_reserved")
        return self.accelerator.max_memory_reserved(self.device) if counts else None

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


class Session:
    """The state of one agent's measurements: empty before ``start``."""

    def __init__(self):
        self.torch = self.device = self.prepared = self.name = None
        self.accuracy, self.restore = "same", None

    def start(self, channel, device, seed, interop_threads=None, used=(), accuracy="same"):
        """Import torch, and tell what of the Launch took effect. ``used``: names of techniques."""
        techniques.USED[:] = used
        self.accuracy = accuracy
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
        channel.tell("ready", workload=self.name, threads=self.torch.get_num_threads(), **about)

    def sample(self, channel, seconds, min_samples, go_on=False):
        """Measure one window."""
        found = self.prepared.sample(seconds, min_samples)
        peaks = {"peak_rss_bytes": peak_rss(), "peak_device_bytes": self.prepared.peak_device_bytes()}
        channel.tell("window", workload=self.name, seconds=found, **peaks)
        if go_on:
            self.prepared.go_on_until(channel.commands)

    def rest(self, channel):
        """Say that the work does not go on."""
        channel.tell("rested")


session = Session()
VERBS = {"start": session.start, "prepare": session.prepare, "sample": session.sample, "rest": session.rest}
