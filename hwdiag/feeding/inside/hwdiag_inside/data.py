"""The Dataset that is read: pictures of a folder, or what ``build_dataset()`` of somebody's own file gives."""

import importlib.util
import os
import sys

from . import decoders

MOST_SKIPPED = 20
"""Pictures one after the other that cannot be decoded; more say that something else is wrong."""


class Pictures:
    """Decode, resize, turn into numbers: what most training code does with a picture."""

    def __init__(self, paths, size, decoder=None, reduced=False, dtype="float32", broken=None):
        self.paths, self.size, self.reduced, self.dtype, self.broken = paths, size, reduced, dtype, broken
        self.decoder = decoder
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
        pixels = decoders.as_pillow(self.decode(data, self.size if self.reduced else 0), Image)
        pixels = pixels.resize((self.size, self.size), Image.BILINEAR)
        flat = torch.frombuffer(bytearray(pixels.tobytes()), dtype=torch.uint8)
        numbers = flat.view(self.size, self.size, 3).permute(2, 0, 1)
        if self.dtype == "uint8":
            return numbers.contiguous()
        return numbers.to(torch.float32).div_(255).sub_(0.45).div_(0.225)

    def skip(self, path, error):
        """Note the picture; one short write to a file opened for appending is not mixed with another's (write(2))."""
        if self.broken:
            handle = os.open(self.broken, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(handle, ("%s\t%s\n" % (path, decoders.one_line(error))).encode("utf-8", "surrogateescape"))
            os.close(handle)


def build(data):
    """The Dataset, and what collates its batches (None for torch's own).

    Raises what the file raises, and TypeError or ValueError where it gives something else.
    """
    if data.get("file") is None:
        names = ("size", "decoder", "reduced", "dtype", "broken")
        return Pictures(data["paths"], **{name: data[name] for name in names if data.get(name) is not None}), None
    import torch

    folder, name = os.path.split(data["file"])
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as when it is run; workers that are spawned find it there too
    name = os.path.splitext(name)[0]
    found = importlib.util.spec_from_file_location(name, data["file"])
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    if not callable(getattr(module, "build_dataset", None)):
        raise TypeError("%s has no function build_dataset()" % data["file"])
    built = module.build_dataset()
    dataset, collate = built if isinstance(built, tuple) else (built, None)
    if isinstance(dataset, torch.utils.data.IterableDataset):
        raise TypeError("an IterableDataset cannot be searched yet: build_dataset() must give one with __getitem__")
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise TypeError("build_dataset() gave a %s, which has no __getitem__ and __len__" % type(dataset).__name__)
    if len(dataset) == 0:
        raise ValueError("build_dataset() gave a Dataset of length 0")
    return dataset, collate
