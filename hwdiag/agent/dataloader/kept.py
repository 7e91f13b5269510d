"""A Dataset with a cache around it that holds what was written down."""

import os
import pickle

PACKED, STORED = "samples", "samples.lmdb"
"""Files of a folder: the samples' bytes, and the same in LMDB."""


def with_cache(dataset, cache, after):
    """Return the Dataset with a cache of this kind around it, filled with what ``keep`` wrote down."""
    from . import sample_cache

    most = cache["most"]
    if cache["kind"] == "lmdb":
        path = os.path.join(cache["folder"], STORED)
        return sample_cache.LmdbCache(dataset, path, os.path.getsize(path) + (1 << 20), most, after)
    with open(os.path.join(cache["folder"], PACKED), "rb") as file:
        samples = pickle.load(file)[:most]
    if cache["kind"] == "shared":
        whole = sample_cache.SharedCache(dataset, most, after, cache["slot_bytes"], cache.get("start_method"))
    else:
        whole = sample_cache.WorkerCache(dataset, most, after)
    for index, data in enumerate(samples):
        whole.put(index, data)
    return whole
