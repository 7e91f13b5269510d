"""Times operations of a recording again, in a process of its own, with data like the program's, and with other data.

Run by path with the task as JSON: ``repeat.py '{"operations": [{"name": "aten::mm", "dims": [...], ...}]}'``. Each
answer is a line of JSON. oneDNN's lines about what computed an operation stand between them, on the same output.
With ``threads``, operations are timed with so many, as fast as they come, after what this host reaches with all CPUs.
"""

import json
import os
import sys
import time

TYPES = {"float": "float32", "double": "float64", "c10::BFloat16": "bfloat16", "c10::Half": "float16"}
LEAST_S = 0.15
"""Seconds that one variant is called for, at least."""
COPIED = 1 << 24
"""Numbers of float32 in the copy that tells the bandwidth: more than caches hold."""
SMALL = 1e-39
"""A subnormal number of float32."""


def tensors(torch, task, dtype, small):
    """Return the inputs: of those whose sizes are told as subnormal, so large a share is, or is 0."""
    found = []
    for dims, kind in zip(task["dims"], task["types"]):
        if kind not in TYPES:
            found.append(None)
            continue
        tensor = torch.randn(dims)
        share = task["subnormal"].get(str(sorted(dims)), 0.0)
        if share:
            mask = torch.rand(dims) < share
            tensor = torch.where(mask, torch.full((), SMALL) * small, tensor)
        found.append(tensor.to(getattr(torch, dtype or TYPES[kind])))
    return found


def call(torch, task, inputs):
    """Return what calls the operation."""
    name, concrete = task["name"], task["concrete"]
    if name == "aten::convolution":
        weight = [json.loads(concrete[i]) for i in (3, 4, 5)]
        stride, padding, dilation = weight
        rest = (stride, padding, dilation, concrete[6] == "True", json.loads(concrete[7]), int(concrete[8]))
        return lambda: torch.convolution(inputs[0], inputs[1], inputs[2], *rest)
    function = getattr(torch, name.split("::")[1])
    used = [i for i in inputs if i is not None][: 3 if name in ("aten::addmm", "aten::baddbmm") else 2]
    return lambda: function(*used)


def stretches(work, clock):
    """Return the seconds of one call by this clock, of five stretches of calls."""
    work()
    began, calls = clock(), 0
    while calls < 2 or clock() - began < LEAST_S / 5:
        work()
        calls += 1
    found = []
    for _ in range(5):
        began = clock()
        for _ in range(calls):
            work()
        found.append((clock() - began) / calls)
    return found


def timed(work):
    """Return the CPU seconds of one call in this one thread, whatever else runs: the median of five stretches."""
    return sorted(stretches(work, time.thread_time))[2]


def fastest(torch, work):
    """Return the seconds of one call with all threads of now: the least of five stretches, whatever else runs."""
    return min(stretches(work, time.thread_time if torch.get_num_threads() == 1 else time.perf_counter))


def ceilings(torch, types):
    """Return what this host reaches with all CPUs: FLOP/s of a large product by type, and bytes/s of a copy."""
    cpus = len(os.sched_getaffinity(0))
    torch.set_num_threads(cpus)
    n = 1024 if cpus <= 8 else 2048 if cpus <= 32 else 4096
    found = {"cpus": cpus, "flops": {}}
    for kind in types:
        a = torch.randn(n, n).to(getattr(torch, TYPES[kind]))
        out = torch.empty_like(a)
        found["flops"][kind] = 2.0 * n**3 / fastest(torch, lambda a=a, out=out: torch.mm(a, a, out=out))
    x = torch.zeros(COPIED)
    y = torch.empty_like(x)
    found["bytes"] = 2.0 * 4 * COPIED / fastest(torch, lambda: y.copy_(x))
    return found


def rates(torch, task):
    """Print what this host reaches, and what each operation takes here by itself."""
    with torch.no_grad():
        print("\n" + json.dumps(ceilings(torch, task["types"])), flush=True)
        torch.set_num_threads(task["threads"])
        for number, one in enumerate(task["operations"]):
            work = call(torch, one, tensors(torch, one, None, 1.0))
            print("\n" + json.dumps({"number": number, "seconds": fastest(torch, work)}), flush=True)


def kernels(torch, work, mark):
    """Have oneDNN say what computes a call, between two marks."""
    print("\n" + mark, flush=True)
    try:
        with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
            work()
    except Exception:
        pass
    print("\n" + mark + " end", flush=True)


def repeat(torch, number, task):
    found = {"number": number}
    with torch.no_grad():
        inputs = tensors(torch, task, None, 1.0)
        work = call(torch, task, inputs)
        found["seconds"] = timed(work)
        kernels(torch, work, "kernels %d" % number)
        if task["subnormal"]:
            found["flushed_s"] = timed(call(torch, task, tensors(torch, task, None, 0.0)))
        if any(kind in ("c10::BFloat16", "c10::Half") for kind in task["types"]):
            work = call(torch, task, tensors(torch, task, "float32", 0.0))
            found["float32_s"] = timed(work)
            kernels(torch, work, "float32 kernels %d" % number)
    print("\n" + json.dumps(found), flush=True)


def main():
    import torch

    torch.manual_seed(0)
    task = json.loads(sys.argv[1])
    if task.get("threads"):
        return rates(torch, task)
    torch.set_num_threads(1)
    for number, one in enumerate(task["operations"]):
        try:
            repeat(torch, number, one)
        except Exception as error:
            print("\n" + json.dumps({"number": number, "error": str(error)[:200]}), flush=True)


if __name__ == "__main__":
    main()
