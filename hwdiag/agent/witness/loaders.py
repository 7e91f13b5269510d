"""Times each batch that a DataLoader gives, without a frame in its stack: a traceback of the program's stays its own.

``_BaseDataLoaderIter.__next__`` reads ``_profile_name`` when it begins, and counts ``_num_yielded`` up when it has its
batch. Both become properties of the class that keep the value where it was, and note the time.
"""

import _thread
import sys
import time

from . import stacks

NAME = "torch.utils.data.dataloader"
MOST_LOADERS = 8
DEEPEST = 60


class LoaderClock:
    """Seconds that each thread was in a DataLoader's ``__next__``."""

    def __init__(self):
        self.installed = False
        self.closed = {}
        """By thread and kind."""
        self.open = {}
        """By thread: the iterator, since when, and its kind."""
        self.loaders = {}
        self.batches = 0

    def install(self):
        """Put it in place once the DataLoader was imported."""
        module = sys.modules.get(NAME)
        base = getattr(module, "_BaseDataLoaderIter", None)
        if base is None or self.installed:
            return
        self.installed = True
        base._profile_name = kept("_profile_name", self.begin, None)
        base._num_yielded = kept("_num_yielded", None, self.end)

    def begin(self, iterator):
        ident = _thread.get_ident()
        at = self.open.get(ident)
        if at is not None and at[0] != id(iterator) and is_nested():
            return
        kind = stacks.WORKERS if getattr(iterator, "_num_workers", 0) else stacks.INPUT
        self.open[ident] = (id(iterator), time.perf_counter(), kind)
        if id(iterator) not in self.loaders and len(self.loaders) < MOST_LOADERS:
            self.loaders[id(iterator)] = describe(iterator)

    def end(self, iterator, value):
        ident = _thread.get_ident()
        at = self.open.get(ident)
        if value and at is not None and at[0] == id(iterator):
            del self.open[ident]
            key = (ident, at[2])
            self.closed[key] = self.closed.get(key, 0.0) + time.perf_counter() - at[1]
            self.batches += 1

    def seconds(self, ident, inside):
        """Return the seconds of a thread by kind until now.

        ``inside``: whether it was just seen within ``__next__``; where not, an open one ended without a batch.
        """
        found = {kind: self.closed.get((ident, kind), 0.0) for kind in (stacks.INPUT, stacks.WORKERS)}
        at = self.open.get(ident)
        if at is not None:
            if inside:
                found[at[2]] += time.perf_counter() - at[1]
            else:
                self.open.pop(ident, None)
        return found


def kept(name, read, written):
    """Return a property that keeps its value in the object's own dictionary, as if it were none."""

    def get(self):
        if read is not None:
            try:
                read(self)
            except Exception:
                pass
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(name) from None

    def put(self, value):
        self.__dict__[name] = value
        if written is not None:
            try:
                written(self, value)
            except Exception:
                pass

    def remove(self):
        self.__dict__.pop(name, None)

    return property(get, put, remove)


def is_nested():
    """Return whether this thread is within the ``__next__`` of another DataLoader."""
    frame, found = sys._getframe(3), 0
    for _ in range(DEEPEST):
        if frame is None:
            break
        code = frame.f_code
        found += code.co_name == "__next__" and code.co_filename.endswith("/torch/utils/data/dataloader.py")
        frame = frame.f_back
    return found > 1


def describe(iterator):
    """Return what a DataLoader's iterator says of it."""
    sampler = getattr(iterator, "_index_sampler", None)
    return {
        "workers": getattr(iterator, "_num_workers", None),
        "batch_size": getattr(sampler, "batch_size", None),
        "pin_memory": bool(getattr(iterator, "_pin_memory", False)),
        "persistent": bool(getattr(iterator, "_persistent_workers", False)),
        "prefetch": getattr(iterator, "_prefetch_factor", None),
        "dataset": type(getattr(iterator, "_dataset", None)).__name__[:80],
    }
