"""Datasets without ``__getitem__``: what they give, again and again, as a loader that is measured needs it."""

import itertools

import torch
from torch.utils.data import IterableDataset, get_worker_info


class Again(IterableDataset):
    """An IterableDataset from its beginning whenever it ends; or so many samples, all workers together."""

    def __init__(self, dataset, count=None):
        self.dataset, self.count = dataset, count

    def __iter__(self):
        about = get_worker_info()
        return itertools.islice(self.samples(), None if self.count is None else self.share(about))

    def share(self, about):
        workers, mine = (about.num_workers, about.id) if about else (1, 0)
        return self.count // workers + (mine < self.count % workers)

    def samples(self):
        while True:
            empty = True
            for sample in self.dataset:
                empty = False
                yield sample
            if empty:
                return  # a worker may have no share of it


def is_stream(dataset):
    """Return whether a Dataset has no indices."""
    return isinstance(dataset, IterableDataset)


def is_doubled(dataset, collate, size):
    """Return whether two workers give the same first batch: then each gives all samples, and the training sees them
    twice."""
    from . import sample_cache

    loader = torch.utils.data.DataLoader(Again(dataset, 2 * size), size, collate_fn=collate, num_workers=2)
    first = list(itertools.islice(loader, 2))
    return len(first) == 2 and sample_cache.packed(first[0]) == sample_cache.packed(first[1])
