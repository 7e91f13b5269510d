"""InsideReport: what a Python process of the program said of itself."""

from __future__ import annotations

from typing import Any

from hwdiag.core.value import Value
from hwdiag.process.trace import AllocatedMemory, Traced

INPUT = "input"
"""Kinds of doing that begin with it are all input."""
KINDS = {
    "input": "loading data in its own process (a DataLoader without workers)",
    "input: workers": "waiting for the workers of its DataLoader",
    "input: library": "in a library that reads or decodes data",
    "model": "computing the forward pass of its net",
    "backward": "computing the backward pass",
    "optimizer": "computing the optimizer's steps",
    "compile": "compiling (torch.compile)",
    "collective": "in collectives",
    "torch": "PyTorch's operations outside of a net",
    "import": "importing",
    "wait": "waiting for another thread or process",
    "python": "in code of its own: Python, and the operations that it calls itself",
}
"""What a stack can be in; ``input: name (file:line)`` is a function of the person's own."""


class ThreadActivity(Value):
    """The activity of one thread, by its stacks at random moments."""

    thread: str
    """``main``, or its name."""
    looks: int
    """At its loop: from the first to the last time that it loaded data, or had a net at work."""
    seconds: float
    """Of the loop."""
    shares: dict[str, float]
    """Of the loop's time, 0..1: see ``KINDS``."""
    low: float
    high: float
    """95 % interval of the share of the time that is input."""
    before: dict[str, float] = {}
    """Seconds before the loop, by the same kinds."""
    places: dict[str, float] = {}
    """The innermost functions of the person's own: share of the thread's time by ``name (file:line)``."""

    @property
    def input(self) -> float:
        """Return the share of the loop's time that is input."""
        return sum(share for kind, share in self.shares.items() if kind.startswith(INPUT))


class Loader(Value):
    """A DataLoader that was iterated."""

    workers: int | None = None
    batch_size: int | None = None
    pin_memory: bool | None = None
    persistent: bool | None = None
    prefetch: int | None = None
    dataset: str = ""


class Subnormal(Value):
    """Subnormal numbers (denormals) among sampled values of live tensors on the CPU."""

    parameters: float | None
    """Share of the values of parameters, 0..1; None where none were looked at."""
    others: float | None
    """Of other tensors: activations, buffers, states of optimizers."""
    looked_at: int
    """Values."""
    examples: dict[str, float] = {}
    """Share by ``parameter (24, 24, 3, 3)``, of tensors with 1 % and more."""


class RepeatedOperation(Value):
    """An operation of the recording that was timed again, in a process of its own."""

    name: str
    dims: str
    """Of its inputs."""
    dtype: str
    seconds: float
    """Of one call, with data as the program has it."""
    flushed_s: float | None = None
    """The same with subnormal numbers flushed to zero."""
    float32_s: float | None = None
    """The same in float32."""
    kernels: tuple[str, ...] = ()
    """oneDNN's names of what computed it: ``jit:avx2``, ``ref:any`` ..."""
    float32_kernels: tuple[str, ...] = ()


class OperationRate(Value):
    """A heavy operation of the recording, beside the same one by itself on this host."""

    name: str
    dims: str
    """Of its inputs."""
    dtype: str
    flop: float
    """Of one call."""
    bytes: float
    """Of the inputs of one call."""
    seconds: float
    """Of one call in the program, the median."""
    total_s: float
    """Of all calls."""
    alone_s: float
    """Of one call by itself with as many threads, without the program's variables."""
    with_variables_s: float | None = None
    """The same with the program's variables; None where nobody asked."""

    def factor(self, bytes_rate: float) -> float:
        """Return how many times as long a call takes in the program as by itself, with its inputs read from memory."""
        return self.seconds / (self.alone_s + self.bytes / bytes_rate)


class ReachedRates(Value):
    """The rates of a process's heavy operations, and of this host, measured when the program had ended."""

    cpus: int
    """On so many CPUs the host's rates were measured."""
    threads: int
    """With so many the program computed, and its operations by themselves."""
    flop_rates: dict[str, float]
    """Of a large product of matrices by type, FLOP/s: the ceilings."""
    bytes_rate: float
    """Of a copy in memory, bytes/s, read plus written."""
    operations: tuple[OperationRate, ...]
    """The heaviest first."""


class InsideReport(Value):
    """The report of one Python process of the program on itself, by hwdiag's witness in it."""

    pid: int
    command: tuple[str, ...]
    state: str
    """``started``: torch was never imported. ``imported``: and not recorded. ``recording``: killed meanwhile.
    ``written``, ``failed``, ``nothing``: of its recording."""
    why: str = ""
    """What ended the recording: ``its time``, ``its size``, ``its end``, ``SIGTERM`` ..."""
    error: str = ""
    torch: str = ""
    python: str = ""
    """Its interpreter."""
    seconds: float = 0.0
    """From the import of torch to its last word."""
    ended: bool = False
    """Whether it saw its own end; not where it was killed."""
    facts: dict[str, Any] = {}
    """Of torch at its end: threads, inter-op threads, anomaly mode, sharing strategy, compile counters ..., by name."""
    loaders: tuple[Loader, ...] = ()
    """Each DataLoader that was iterated."""
    activities: tuple[ThreadActivity, ...] = ()
    """What its threads were seen doing: the one that trains, or computes, first."""
    growth: dict[str, Any] = {}
    """Pairs, of an earlier and a later moment: graph_nodes, live_tensors, tensor_bytes, python_objects."""
    memory: tuple[AllocatedMemory, ...] = ()
    """Resident memory of the ``process`` over time, and what torch had allocated on each GPU."""
    subnormal: Subnormal | None = None
    repeated: tuple[RepeatedOperation, ...] = ()
    rates: ReachedRates | None = None
    """None where no operation is heavy enough to be compared."""
    traced: Traced | None = None
    trace: str = ""
    """File name of its trace, where it is kept."""
    loop_s: float = 0.0
    """From the beginning of its recording to the first net that was seen at work; 0 where none was."""
    steps: int | None = None
    """Calls of what a file's ``build()`` gave."""
    all_threads: bool | None = None
    """Whether the recording has all threads in it; None without one."""
    not_all: str = ""
    """Why it has not."""
    written_s: float | None = None
    """Seconds for which the program stood still while its trace was written."""
    cost_s: float = 0.0
    """CPU seconds of looking at stacks and objects."""
    rank: int | None = None
    """Its rank where it belongs to a process group."""
    world: int | None = None

    @property
    def before(self) -> dict[str, float]:
        """Return the seconds by kind of the main thread before any loop of it."""
        return next((a.before for a in self.activities if a.thread == "main"), {})

    @property
    def loop(self) -> ThreadActivity | None:
        """Return the activity of the thread that trains or computes; None without looks."""
        return self.activities[0] if self.activities and self.activities[0].looks else None
