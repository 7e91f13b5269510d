"""Caches of samples: the memory that each kind would hold, and how fast it is written and read."""

import os
import pickle
import random
import time

from . import data as datasets
from .kept import PACKED, STORED
from .reading import drop

SAME = 4
"""Samples that are made twice, to see whether they are the same each time."""
SPARE = 1.1
"""Of a map of LMDB, beyond what is in it."""


def keep(task):
    """Make these samples, and write them down: their bytes in ``folder``, and in an LMDB file beside it."""
    from . import sample_cache

    dataset, _ = datasets.build(dict(task["data"], bare=True))
    limit = min(task["most_bytes"], task.get("limit_bytes") or task["most_bytes"])
    kept, began, total = [], time.perf_counter(), 0
    for index in task["indices"]:
        kept.append(sample_cache.packed(dataset[index]))
        total += len(kept[-1])
        if total > limit or time.perf_counter() - began > task["seconds"]:
            break
    made_s = (time.perf_counter() - began) / len(kept)
    again = [sample_cache.packed(dataset[index]) for index in task["indices"][: min(SAME, len(kept))]]
    found = {
        "indices": task["indices"][: len(kept)],
        "sample_bytes": total / len(kept),
        "slot_bytes": max(map(len, kept)) + 64,
        "make_s": made_s,
        "is_same": again == kept[: len(again)],
    }
    with open(os.path.join(task["folder"], PACKED), "wb") as file:
        pickle.dump(kept, file)
    found.update(stored(kept, os.path.join(task["folder"], STORED), task["seed"]))
    return found


def stored(kept, path, seed):
    """Return how fast LMDB writes and reads the samples. Only ``lmdb_missing``, with the reason, where it cannot."""
    try:
        import lmdb
    except ImportError as error:
        return {"lmdb_missing": "%s: pip install lmdb" % error}
    from . import sample_cache

    size = int(SPARE * sum(map(len, kept))) + (64 << 20)
    cache = sample_cache.LmdbCache(list(range(len(kept))), path, size)
    batches = [range(n, min(n + sample_cache.BATCH, len(kept))) for n in range(0, len(kept), sample_cache.BATCH)]
    began, stalls = time.perf_counter(), []
    for batch in batches:
        started = time.perf_counter()
        cache.write([(b"%d" % n, kept[n]) for n in batch])
        stalls.append(time.perf_counter() - started)
    written_s = (time.perf_counter() - began) / len(kept)
    used = cache.opened().info()["last_pgno"] * cache.opened().stat()["psize"]
    cache.close()
    drop([path])
    order = list(range(len(kept)))
    random.Random(seed).shuffle(order)
    times = []
    for _ in range(2):
        began = time.perf_counter()
        for n in order:
            pickle.loads(cache.get(n))
        times.append((time.perf_counter() - began) / len(order))
    cache.close()
    room = os.statvfs(os.path.dirname(path))
    return {
        "lmdb": ".".join(map(str, lmdb.version())),
        "write_s": written_s,
        "stall_s": max(stalls),
        "stored_bytes": used / len(kept),
        "cold_s": times[0],
        "warm_s": times[1],
        "free_bytes": room.f_bavail * room.f_frsize,
    }
