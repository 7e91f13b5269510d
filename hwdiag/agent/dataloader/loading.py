"""One trial: a DataLoader with one setting, in a process of its own that the child forked."""

import multiprocessing
import os
import pickle
import random
import sys
import time
from multiprocessing.reduction import ForkingPickler

from . import data as datasets
from . import memory, streams

MOST = 3.0
"""Warm-up and window last at most so many times as long as a window should, to end with as many batches of each
worker."""
QUIET_S, STILL = 0.1, 2
"""Workers that use no CPU time for so long, so many times one after the other, wait for the consumer."""
EPOCHS = 3


class Endless:
    """Indices in any order, again and again; or so many of them."""

    def __init__(self, length, seed, count=None, shuffle=True):
        self.length, self.seed, self.count, self.shuffle = length, seed, count, shuffle

    def __len__(self):
        return self.count or self.length

    def __iter__(self):
        order, given = random.Random(self.seed), 0
        while True:
            indices = list(range(self.length))
            if self.shuffle:
                order.shuffle(indices)
            for index in indices:
                if self.count is not None and given >= self.count:
                    return
                given += 1
                yield index


class Prepare:
    """The first step of each worker: threads, and the CPUs that it stays on."""

    def __init__(self, threads, places):
        self.threads, self.places = threads, places

    def __call__(self, worker):
        if self.places:
            os.sched_setaffinity(0, self.places[worker % len(self.places)])
        if self.threads:
            import torch

            torch.set_num_threads(self.threads)


def endless(dataset, seed, count=None, shuffle=True):
    """Return a Dataset that never ends, or after so many samples, and the order in which a loader takes them."""
    if streams.is_stream(dataset):
        return streams.Again(dataset, count), None
    return dataset, Endless(len(dataset), seed, count, shuffle)


def make(dataset, sampler, collate, setting, timeout_s):
    """Return the DataLoader. What the setting leaves out is left to torch."""
    import torch

    workers = setting.get("workers") or 0
    names = {
        "prefetch": "prefetch_factor",
        "persistent": "persistent_workers",
        "start_method": "multiprocessing_context",
    }
    more = {theirs: setting[ours] for ours, theirs in names.items() if workers and setting.get(ours) is not None}
    if sampler is not None:
        more["sampler"] = sampler
    if workers:
        more["timeout"] = timeout_s
        if setting.get("threads") or setting.get("places"):
            more["worker_init_fn"] = Prepare(setting.get("threads"), setting.get("places"))
    return torch.utils.data.DataLoader(
        dataset,
        batch_size=setting["batch_size"],
        collate_fn=collate,
        num_workers=workers,
        pin_memory=bool(setting.get("pin_memory")),
        drop_last=True,
        **more,
    )


def tensors(batch):
    """Return all tensors of a batch, however it is nested."""
    if hasattr(batch, "element_size"):
        return [batch]
    if isinstance(batch, dict):
        batch = list(batch.values())
    if isinstance(batch, (list, tuple)):
        return [t for part in batch for t in tensors(part)]
    return []


def gpu():
    """Return torch's functions for the GPU."""
    import torch

    return torch.cuda


def consume(batch, device, pinned):
    """Bring it to the GPU, where there is one, and wait until it is there."""
    if device:
        for tensor in tensors(batch):
            tensor.to("cuda", non_blocking=pinned)
        device.synchronize()


def look(task):
    """Return the facts of the Dataset: its length, a batch's bytes and tensors, whether workers can send it, and
    GPUs."""
    import torch
    import torch.multiprocessing  # teaches the pickler below about tensors

    dataset, collate = datasets.build(task["data"])
    stream = streams.is_stream(dataset)
    length = length_of(dataset)
    for index in () if stream else {0, length // 2, length - 1}:
        try:
            dataset[index]
        except Exception as error:
            raise RuntimeError("dataset[%d] raises %s" % (index, described(error)))
    started = time.perf_counter()
    setting = {"batch_size": task["batch_size"]}
    batch = first(iter(make(*endless(dataset, task["seed"]), collate, setting, 0)))
    took = time.perf_counter() - started
    try:
        ForkingPickler.dumps(batch)
    except Exception as error:
        raise RuntimeError(
            "a batch cannot be sent from a worker: it holds what cannot be pickled; %s" % described(error)
        )
    try:
        pickle.dumps((dataset, collate))
        unpicklable = None
    except Exception as error:
        unpicklable = described(error)
    parts = tensors(batch)
    return {
        "length": length,
        "stream": stream,
        "doubled": stream and streams.is_doubled(dataset, collate, task["batch_size"]),
        "batch_bytes": sum(t.numel() * t.element_size() for t in parts),
        "tensors": len(parts),
        "batch_s": took,
        "unpicklable": unpicklable,
        "torch": str(torch.__version__),
        "python": sys.version.split()[0],
        "cuda": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }


def described(error):
    text = str(error).strip().splitlines()
    return "%s: %s" % (type(error).__name__, text[0][:300] if text else "")


def begin(task, count=None):
    """Return the loader with its sampler, from a Dataset that is built afresh."""
    setting = task["setting"]
    if setting.get("sharing"):
        import torch.multiprocessing

        torch.multiprocessing.set_sharing_strategy(setting["sharing"])
    dataset, collate = datasets.build(task["data"])
    order = endless(dataset, task["seed"], count, shuffle=not task.get("validation"))
    return make(*order, collate, setting, task["timeout_s"])


def length_of(dataset):
    """Return the number of samples; None of an IterableDataset that has none."""
    try:
        return len(dataset)
    except TypeError:
        return None


def first(batches):
    """Return the first batch. Raises RuntimeError where there is none."""
    for batch in batches:
        return batch
    raise RuntimeError("the Dataset gives no whole batch")


def trial(task):
    """Return how fast batches come: seconds of one, of the first one, and the share of the time that a step waits."""
    setting, device = task["setting"], gpu() if task.get("cuda") else None
    loader = begin(task)
    pinned, step_s = bool(setting.get("pin_memory")), task.get("step_s") or 0
    each = max(1, setting.get("workers") or 0)
    started = time.perf_counter()
    batches = iter(loader)
    consume(first(batches), device, pinned)
    first_s = time.perf_counter() - started
    warm, count, took = time.perf_counter(), 1, 0.0
    while took < task["warmup_s"] or (count % each and took < MOST * task["seconds"]):
        consume(next(batches), device, pinned)
        time.sleep(step_s)
        count += 1
        took = time.perf_counter() - warm
    began, count, waited = time.perf_counter(), 0, 0.0
    while True:
        ask = time.perf_counter()
        consume(next(batches), device, pinned)
        waited += time.perf_counter() - ask
        time.sleep(step_s)
        count += 1
        took = time.perf_counter() - began
        if (took >= task["seconds"] and count % each == 0) or took >= MOST * task["seconds"]:
            break
    return {"batch_s": took / count, "batches": count, "first_s": first_s, "waiting": waited / took}


def epochs(task):
    """Return the seconds until the first batch of the first epoch, and of the second."""
    setting = task["setting"]
    each = max(1, setting.get("workers") or 0)
    ahead = each * (setting.get("prefetch") or 2)
    count = max(each, min(ahead, task["batches"])) * setting["batch_size"]
    loader, firsts = begin(task, count), []
    for _ in range(EPOCHS):
        started = time.perf_counter()
        batches = iter(loader)
        first(batches)
        firsts.append(time.perf_counter() - started)
        for _ in batches:
            pass
    return {"first_s": firsts[0], "restart_s": sum(firsts[1:]) / len(firsts[1:])}


def rest(seconds):
    """Wait until the workers have nothing left to do, but not longer than this."""
    began, before, still = time.perf_counter(), None, 0
    while time.perf_counter() - began < seconds and still < STILL:
        time.sleep(QUIET_S)
        now = sum(ticks(worker.pid) for worker in multiprocessing.active_children())
        still, before = (still + 1 if now == before else 0), now


def ticks(pid):
    """Return the clock ticks that a process has used so far; 0 where it ended."""
    try:
        with open("/proc/%d/stat" % pid, errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def fill(task):
    """Hold as much memory as this setting can: fetch, then stop until nothing more is fetched, ``pauses`` times."""
    loader = begin(task)
    started = time.perf_counter()
    batches = iter(loader)
    batch = first(batches)
    first_s = time.perf_counter() - started
    workers, held = task["setting"].get("workers") or 0, []
    outstanding = workers * (task["setting"].get("prefetch") or 2)
    for _ in range(task["pauses"]):
        for _ in range(max(2, outstanding)):
            batch = next(batches)
        if outstanding:
            rest(task["seconds"])
            held.append(sum(memory.process_bytes(w.pid)[1] for w in multiprocessing.active_children()))
    return {
        "held_at_rest": held,
        "batches_between": max(2, outstanding),
        "tensors": len(tensors(batch)),
        "first_s": first_s,
    }
