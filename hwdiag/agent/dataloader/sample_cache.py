"""Datasets that read and decode each sample once: kept by each worker, by all together, or in LMDB on a local disk.

Put them around the part of your Dataset that gives the same each time, and what must differ from epoch to epoch, such
as cropping and flipping, into ``after``. Nothing is evicted: where there is no room for all, the first ``most`` samples
are kept, and the others made each time. With samples in random order that keeps more than throwing out the oldest.

hwdiag measures with this file and hands it out as it is. It needs torch, and LMDB the package ``lmdb``.
"""

import ctypes
import io
import pickle

import torch

BATCH = 64
"""Samples of one transaction: each of them ends with a write to the disk."""
READERS = 126
"""LMDB's own number of processes that may read at the same time (lmdb.h, mdb_env_set_maxreaders)."""


class Cached(torch.utils.data.Dataset):
    """The common part of the caches below, which say where a sample's bytes go."""

    def __init__(self, dataset, most=None, after=None):
        """``dataset`` needs a length. ``after`` takes each sample that was kept or made, and gives what is used."""
        self.dataset, self.after = dataset, after
        self.most = len(dataset) if most is None else min(most, len(dataset))

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        if not 0 <= index < self.most:
            sample = self.dataset[index]
        else:
            data = self.get(index)
            if data is None:
                sample = self.dataset[index]
                self.put(index, packed(sample))
            else:
                sample = pickle.loads(data)
        return sample if self.after is None else self.after(sample)

    def get(self, index):
        """Return a sample's bytes; None where they are not there yet."""
        raise NotImplementedError

    def put(self, index, data):
        """Keep its bytes."""
        raise NotImplementedError


class WorkerCache(Cached):
    """Each worker keeps its own, and loses it when it ends: the DataLoader needs ``persistent_workers=True``."""

    def __init__(self, dataset, most=None, after=None):
        super().__init__(dataset, most, after)
        self.kept = {}

    def get(self, index):
        return self.kept.get(index)

    def put(self, index, data):
        self.kept[index] = data


class SharedCache(Cached):
    """One for all workers, in /dev/shm: torch's shared memory, filled by whoever makes a sample first."""

    def __init__(self, dataset, most=None, after=None, slot_bytes=None, start_method=None):
        """``slot_bytes``: of the largest sample; one that is larger is made each time. None takes the first one's.

        ``start_method`` is the DataLoader's ``multiprocessing_context``.
        """
        super().__init__(dataset, most, after)
        self.slot_bytes = slot_bytes or len(packed(dataset[0])) + 64
        self.kept = torch.empty((self.most, self.slot_bytes), dtype=torch.uint8).share_memory_()
        self.sizes = torch.zeros(self.most, dtype=torch.int64).share_memory_()
        # Whoever sees a size under the lock sees the bytes that were written before it, on every CPU.
        self.lock = torch.multiprocessing.get_context(start_method).Lock()

    def get(self, index):
        with self.lock:
            size = int(self.sizes[index])
        return ctypes.string_at(self.kept[index].data_ptr(), size) if size else None

    def put(self, index, data):
        if len(data) <= self.slot_bytes:
            ctypes.memmove(self.kept[index].data_ptr(), data, len(data))
            with self.lock:
                self.sizes[index] = len(data)


class LmdbCache(Cached):
    """In a file on a local disk, never a remote one (lmdb.h), for every training to come: call ``fill`` before them."""

    def __init__(self, dataset, path, map_size, most=None, after=None, readers=READERS, about=""):
        """``map_size``: bytes that the file may grow to. ``about``: changes where the samples are others.

        Raises ``ValueError`` where the file holds something else.
        """
        super().__init__(dataset, most, after)
        self.path, self.map_size, self.readers, self.env = path, map_size, readers, None
        self.about = ("%d %s" % (len(dataset), about)).encode()
        with self.opened().begin(write=True) as transaction:
            there = transaction.get(b"about")
            if there is None:
                transaction.put(b"about", self.about)
            elif there != self.about:
                raise ValueError("%s holds samples of %r, not of %r" % (path, there.decode(), self.about.decode()))
        self.close()  # what is open must not be taken along into a process that is forked

    def __getstate__(self):
        return dict(self.__dict__, env=None)

    def opened(self):
        """Return the environment of this process."""
        if self.env is None:
            import lmdb

            # A crash of the machine may lose the last transactions, and leaves the file whole (MDB_NOMETASYNC).
            self.env = lmdb.open(
                self.path,
                map_size=self.map_size,
                max_readers=self.readers,
                subdir=False,
                readahead=False,
                metasync=False,
            )
        return self.env

    def close(self):
        """Let go of the file; it is opened again when it is needed."""
        if self.env is not None:
            self.env.close()
        self.env = None

    def get(self, index):
        with self.opened().begin(buffers=False) as transaction:
            return transaction.get(b"%d" % index)

    def put(self, index, data):
        """Leave the sample out: workers that write wait for each other, and ``fill`` writes what is missing."""

    def fill(self, workers=0):
        """Make what is not there yet, by so many workers, written by this process alone. Gives how many were made."""
        with self.opened().begin() as transaction:
            missing = [i for i in range(self.most) if transaction.get(b"%d" % i) is None]
        self.close()
        made = torch.utils.data.DataLoader(Packed(self.dataset), None, sampler=missing, num_workers=workers)
        batch = []
        for index, data in zip(missing, made):
            batch.append((b"%d" % index, bytes(data)))
            if len(batch) == BATCH:
                self.write(batch)
                batch = []
        self.write(batch)
        self.close()
        return len(missing)

    def write(self, batch):
        """Write a batch in one transaction. Raises ``lmdb.MapFullError`` where the file would grow beyond
        ``map_size``."""
        with self.opened().begin(write=True) as transaction:
            for key, data in batch:
                transaction.put(key, data)


class Packed(torch.utils.data.Dataset):
    """A Dataset's samples as bytes."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return packed(self.dataset[index])


class Packer(pickle.Pickler):
    """Writes a tensor as its bytes: pickle itself takes some 20 times as long for a tensor."""

    def reducer_override(self, value):
        is_plain = type(value) is torch.Tensor and value.device.type == "cpu" and value.layout == torch.strided
        if not is_plain or value.requires_grad or value.is_quantized or value.is_complex():
            return NotImplemented
        whole = value.contiguous()
        data = ctypes.string_at(whole.data_ptr(), whole.numel() * whole.element_size()) if whole.numel() else b""
        return unpacked, (data, whole.dtype, tuple(whole.shape))


def packed(sample):
    """Return a sample as bytes. Raises what ``pickle`` raises."""
    buffer = io.BytesIO()
    Packer(buffer, pickle.HIGHEST_PROTOCOL).dump(sample)
    return buffer.getvalue()


def unpacked(data, dtype, shape):
    """Return the tensor that ``packed`` made into bytes."""
    if not data:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype).view(shape)
