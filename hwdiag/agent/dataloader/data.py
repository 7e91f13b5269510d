"""The Dataset that is read: pictures of a folder, or what ``build_dataset()`` of somebody's own file gives."""

import importlib.util
import os
import sys

from . import decoders

MOST_SKIPPED = 20
"""Pictures one after the other that cannot be decoded; more say that something else is wrong."""


class Pictures:
    """Decode, resize, turn into numbers: what most training code does with a picture."""

    def __init__(self, paths, size, decoder=None, reduced=False, dtype="float32", broken=None, forget=False):
        """``forget``: let the kernel drop each file when it has been read, so that it comes from the disk each time."""
        self.paths, self.size, self.reduced, self.dtype, self.broken = paths, size, reduced, dtype, broken
        self.decoder, self.forget = decoder, forget
        self.decode = None

    def __len__(self):
        return len(self.paths)

    def __getstate__(self):
        return dict(self.__dict__, decode=None)  # a worker that is spawned loads its own

    def __getitem__(self, index):
        for place in range(index, index + min(MOST_SKIPPED, len(self.paths))):
            path = self.paths[place % len(self.paths)]
            try:
                return self.load(path), place % 1000
            except Exception as error:
                self.skip(path, error)
        raise RuntimeError("%d pictures one after the other cannot be decoded, the last is %s" % (MOST_SKIPPED, path))

    def load(self, path):
        import torch
        from PIL import Image

        if self.decode is None:
            self.decode = decoders.best_known(self.decoder)
        with open(path, "rb") as file:
            data = file.read()
            if self.forget:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        pixels = decoders.as_pillow(self.decode(data, self.size if self.reduced else 0), Image)
        pixels = pixels.resize((self.size, self.size), Image.BILINEAR)
        flat = torch.frombuffer(bytearray(pixels.tobytes()), dtype=torch.uint8)
        numbers = flat.view(self.size, self.size, 3).permute(2, 0, 1)
        return numbers.contiguous() if self.dtype == "uint8" else normalised(numbers)

    def skip(self, path, error):
        """Note the picture; one short write to a file opened for appending is not mixed with another's (write(2))."""
        if self.broken:
            handle = os.open(self.broken, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(handle, ("%s\t%s\n" % (path, decoders.one_line(error))).encode("utf-8", "surrogateescape"))
            os.close(handle)


def normalised(numbers):
    """Return pixels, 0..255, in the range that most nets want."""
    import torch

    return numbers.to(torch.float32).div_(255).sub_(0.45).div_(0.225)


def normalised_first(sample):
    """Return a sample with its label, its pixels normalised."""
    return normalised(sample[0]), sample[1]


class Few:
    """Some samples of a Dataset."""

    def __init__(self, dataset, indices):
        self.dataset, self.indices = dataset, indices

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, index):
        return self.dataset[self.indices[index]]


def build(data):
    """Return the Dataset, and the function that collates its batches (None for torch's own).

    ``few`` names the samples that are used, and ``cache`` what keeps them. Raises what the file raises, and TypeError
    or ValueError where it gives something else.
    """
    dataset, collate = build_user_dataset(data["file"]) if data.get("file") is not None else (pictures(data), None)
    if data.get("few") is not None:
        dataset = Few(dataset, data["few"])
    if data.get("cache") is not None:
        from . import kept

        dataset = kept.with_cache(dataset, data["cache"], None if data.get("file") is not None else normalised_first)
    return dataset, collate


def pictures(data):
    """Return the Dataset of a folder. A cache keeps its pictures before they are normalised, in a quarter of the
    bytes."""
    names = ("size", "decoder", "reduced", "dtype", "broken", "forget")
    more = {name: data[name] for name in names if data.get(name) is not None}
    if data.get("cache") is not None or data.get("bare"):
        more["dtype"] = "uint8"
    return Pictures(data["paths"], **more)


def build_user_dataset(file):
    """Return the Dataset of the user's own file, and the function that collates its batches."""
    import torch

    folder, name = os.path.split(file)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as when it is run; workers that are spawned find it there too
    name = os.path.splitext(name)[0]
    found = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    if not callable(getattr(module, "build_dataset", None)):
        raise TypeError("%s has no function build_dataset()" % file)
    built = module.build_dataset()
    dataset, collate = built if isinstance(built, tuple) else (built, None)
    if isinstance(dataset, torch.utils.data.IterableDataset):
        return dataset, collate
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise TypeError(
            "build_dataset() gave a %s, which has no __getitem__ and __len__ and is no IterableDataset"
            % type(dataset).__name__
        )
    if len(dataset) == 0:
        raise ValueError("build_dataset() gave a Dataset of length 0")
    return dataset, collate
