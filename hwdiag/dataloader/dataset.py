"""Data on a data set: its files, their storage, its decoders, and what a Dataset gives. Sizes in bytes."""

from __future__ import annotations

from typing import Literal

from hwdiag.core.value import Value


class FolderContent(Value):
    """The files of a folder."""

    paths: tuple[str, ...]
    bytes: int
    files: int
    """Names that were looked at, pictures or not."""
    more: bool
    """Whether there are more than were looked at."""
    device: str
    """``259:2``: major and minor number of its file system's device; empty where no file is known."""
    real: str
    samples: int | None = None
    """Samples of a person's own Dataset that were made to see which files it opens; None where a folder was given."""
    grows: bool = False
    """Whether each sample opens files of its own, so that their size is that of all samples."""
    devices: int = 1
    """On which the files lie."""
    hosts: tuple[str, ...] = ()
    """That it connects to."""
    unseen: bool = False
    """Whether it read something though it was not seen to open a file."""

    @property
    def unknown(self) -> str:
        """Return why it is not known which files are read; empty where it is."""
        if self.samples is None or self.paths:
            return ""
        if self.hosts:
            return f"the Dataset reads from {', '.join(self.hosts[:3])} over the network"
        if self.unseen:
            return "the Dataset reads by a library that opens and closes its files by itself, so which was not seen"
        if not self.samples:
            return "no sample could be made to see which files the Dataset opens"
        return f"{self.samples} samples of the Dataset opened no file: it makes them by itself, or has read all before"

    @property
    def how(self) -> str:
        """Return how the files and their size are known, of a person's own Dataset; empty where a folder was given."""
        if self.samples is None or not self.paths:
            return ""
        number = "1 file" if self.files == 1 else f"{self.files} files"
        size = "of as many as its samples, or as lie beside them" if self.grows else "of all that were opened"
        places = f", on {self.devices} file systems, of which the first is shown" if self.devices > 1 else ""
        remote = (
            f"; it also reads from {', '.join(self.hosts[:3])} over the network, not measured" if self.hosts else ""
        )
        return f"{number} that {self.samples} samples opened{places}; the size is {size}{remote}"


class Rate(Value):
    """The speed of reading files, one after the other by one reader."""

    bytes_s: float
    files_s: float
    slow_s: float
    """Of a hundred files, the slowest but one took so long."""


class Reading(Value):
    """The speeds of reading the data's files."""

    metadata: float
    """Files/s that are looked up, mostly from the kernel's own cache of names."""
    cold: float | None
    """Share of the files that was not in memory when reading began; None where the file system cannot tell."""
    in_order: Rate
    any_order: Rate
    again: Rate
    """From memory."""


class Storage(Value):
    """The file system and disk that the data lies on."""

    folder: str
    kind: str
    """File system: ``ext4``, ``nfs4``, ``overlay``, ``tmpfs``."""
    source: str
    disk: str | None = None
    """Name under /sys/block, where it is one disk."""
    disk_kind: str | None = None
    scheduler: str | None = None
    read_ahead_kb: int | None = None
    reading: Reading | None = None
    why: str = ""
    """Why there is no reading."""
    how: str = ""
    """How the files are known, of a person's own Dataset."""
    data_bytes: int | None = None
    """Of all files; None where they are not known."""

    @property
    def is_known(self) -> bool:
        """Return whether it is known where the data lies."""
        return bool(self.folder)


class Decoder(Value):
    """One decoder on one core."""

    key: str
    name: str
    version: str
    library: str
    reduced: bool
    """Whether it decodes at 1/2, 1/4 or 1/8, where what is wanted is smaller."""
    seconds: float | None = None
    """Of one picture."""
    resize_seconds: float | None = None
    """Of Pillow's bilinear resize after it."""
    difference: float | None = None
    """Mean distance of the values, of 255, from the first decoder's whole picture, at the size that is wanted."""
    why: str = ""
    """Why it was not measured."""


class Broken(Value):
    """A file that cannot be decoded."""

    path: str
    why: str


class Decoding(Value):
    """The speeds of the installed decoders."""

    looked_at: int
    broken: tuple[Broken, ...]
    missing: dict[str, str]
    mean_bytes: float
    mean_pixels: float
    kind: Literal["jpeg", "png"]
    decoders: tuple[Decoder, ...]


class Dataset(Value):
    """The length and the samples of a Dataset."""

    length: int | None
    """None of an IterableDataset that does not tell."""
    stream: bool = False
    """Whether it is an IterableDataset: samples one after the other, without indices."""
    doubled: bool = False
    """Whether two workers give the same samples, so that the training sees each as often as there are workers."""
    batch_bytes: int
    """Of the tensors of one batch of the size that was asked for."""
    tensors: int
    """In one batch."""
    batch_s: float
    unpicklable: str | None
    """Why it cannot be sent to workers that are spawned; None where it can."""
    torch: str
    python: str
    cuda: str | None
