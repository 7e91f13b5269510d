"""Looks into one iteration of the workload that ``measure`` has prepared: where its time goes, operation by operation.

The iteration is timed as it is, with the CPU time, the kernel's part of it and the page faults, and then once more with
every operation that reaches the dispatcher timed by itself, with its floating-point operations and its bytes. One that
is made of others counts as these; what calls a library's kernels counts as a whole.
"""

import os
import resource
import time

from . import counting
from .measure import session

MOST = 40
"""Operations that are told, those that take longest."""


def usage():
    """Return this process's CPU seconds, those of them in the kernel, and its page faults so far."""
    found = resource.getrusage(resource.RUSAGE_SELF)
    return found.ru_utime + found.ru_stime, found.ru_stime, found.ru_minflt


def as_it_is(prepared, seconds):
    """Return what one iteration takes, as a mean over so many seconds, and two iterations at least."""
    done, before, start = 0, usage(), time.perf_counter()
    while done < 2 or time.perf_counter() - start < seconds:
        prepared.step()
        done += 1
    prepared.synchronize()
    took = time.perf_counter() - start
    cpu_s, system_s, faults = (b - a for a, b in zip(before, usage()))
    return {
        "seconds": took / done,
        "cpus": cpu_s / took,
        "system_share": system_s / cpu_s if cpu_s else 0.0,
        "faults": faults / done,
    }


def flops_of(kind, name, args, out):
    """Return the floating-point operations of one call, a multiply-add counted as two; 0 where that is not known."""
    if kind == "gemm":
        return counting.flops_of(kind, counting.gemm_dims(name, args))
    if kind == "conv" and len(args) > 8:
        return counting.flops_of(kind, counting.conv_dims(args, out))
    if kind == "attention":
        q, k, v = args[:3]
        dims = (int(q.shape[0] * q.shape[1]), int(q.shape[2]), int(k.shape[2]), int(q.shape[3]), int(v.shape[3]))
        return counting.flops_of(kind, dims)
    return 0


class Times:
    """Gathers calls, seconds, operations and bytes by the operation's name."""

    def __init__(self, torch):
        self.torch, self.found = torch, {}

    def mode(self):
        """Return the dispatch mode that feeds it."""
        times, torch = self, self.torch

        class TimingMode(torch.utils._python_dispatch.TorchDispatchMode):
            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                kwargs = kwargs or {}
                if func._schema.name.partition("::")[2] not in counting.OF_NAME:
                    with self:  # what it consists of is timed, where it is made of others
                        out = func.decompose(*args, **kwargs)
                    if out is not NotImplemented:
                        return out
                start = time.perf_counter()
                out = func(*args, **kwargs)
                took = time.perf_counter() - start
                times.add(func, args, kwargs, out, took)
                return out

        return TimingMode()

    def add(self, func, args, kwargs, out, took):
        """Add one call."""
        name = func._schema.name.partition("::")[2]
        tensors = [*counting.inputs_of(self.torch, args, kwargs), *counting.tensors_in(self.torch, [out])]
        is_view = not func._schema.is_mutable and len({counting.storage(t) for t in tensors}) < 2
        kind = counting.OF_NAME.get(name, "")
        outputs = list(counting.tensors_in(self.torch, [out]))
        calls, seconds, flops, size, _ = self.found.get(name, (0, 0.0, 0, 0, ""))
        self.found[name] = (
            calls + 1,
            seconds + took,
            flops + (flops_of(kind, name, args, outputs[0]) if outputs else 0),
            size + (0 if is_view else sum(counting.size_of(t) for t in tensors)),
            str((outputs or tensors)[0].dtype).rpartition(".")[2] if tensors else "",
        )


def by_operation(torch, prepared, seconds):
    """Return the operations of one iteration that take longest, as a mean over so many seconds."""
    times, done, start = Times(torch), 0, time.perf_counter()
    while done < 2 or time.perf_counter() - start < seconds:
        with times.mode():
            prepared.step()
        done += 1
    ranked = sorted(times.found.items(), key=lambda item: -item[1][1])
    return [
        {
            "name": name, "calls": calls / done, "seconds": took / done, "flops": flops / done, "bytes": size / done,
            "dtype": dtype,
        }
        for name, (calls, took, flops, size, dtype) in ranked[:MOST]
    ]  # fmt: skip


def look(channel, seconds):
    """Tell what one iteration of the prepared workload takes, by itself and by operation."""
    found = as_it_is(session.prepared, seconds)
    channel.tell(
        "looked",
        workload=session.name,
        threads=session.torch.get_num_threads(),
        page_bytes=os.sysconf("SC_PAGE_SIZE"),
        operations=by_operation(session.torch, session.prepared, seconds),
        **found,
    )


VERBS = {"look": look}
