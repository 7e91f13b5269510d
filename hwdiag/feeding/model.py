"""What is known of a data set and of what reads it: Setting, Footprint, and all that was measured. Sizes in bytes."""

from __future__ import annotations

from typing import Any, Literal

from hwdiag.host.cpulist import CpuList, format_cpulist
from hwdiag.measure.model import Disturbance, Interval, Outcome, Step, Verdict
from hwdiag.model import Value
from hwdiag.words import plural

StartMethod = Literal["fork", "forkserver", "spawn"]
Sharing = Literal["file_descriptor", "file_system"]

DEFAULT_PREFETCH = 2
"""Batches that each worker makes ahead, where nothing is set (torch.utils.data.DataLoader)."""


class Setting(Value):
    """How a DataLoader is set; what is None or empty is left as torch has it."""

    name: str
    workers: int | None = None
    """0 of torch's own default: the training process reads and decodes by itself."""
    prefetch: int | None = None
    batch_size: int | None = None
    pin_memory: bool | None = None
    persistent: bool | None = None
    threads: int | None = None
    """Intra-op threads of each worker; torch gives it 1."""
    start_method: StartMethod | None = None
    sharing: Sharing | None = None
    places: tuple[CpuList, ...] = ()
    """CPUs of the first worker, of the second ..., and again from the beginning."""

    def plus(self, change: Setting) -> Setting:
        """This one with what ``change`` sets set as well, and named after both."""
        changed = {k: v for k, v in change.model_dump(exclude={"name"}).items() if v not in (None, ())}
        before = self.model_dump(exclude={"name"}, exclude_defaults=True)
        name = f"{self.name} + {change.name}" if before else change.name
        return Setting.model_validate({**self.model_dump(), **changed, "name": name})

    @property
    def makes_sense(self) -> bool:
        """Whether torch takes it: without workers there is nothing to prefetch, to keep or to bind."""
        of_workers = (self.prefetch, self.persistent, self.threads, self.start_method, self.sharing)
        return bool(self.workers) or (not self.places and all(v is None for v in of_workers))

    @property
    def batches_ahead(self) -> int:
        """Batches that are made, or on their way, at most."""
        return (self.workers or 0) * (self.prefetch or DEFAULT_PREFETCH)

    def arguments(self) -> dict[str, Any]:
        """What ``torch.utils.data.DataLoader`` is called with."""
        names = {
            "batch_size": self.batch_size,
            "num_workers": self.workers,
            "prefetch_factor": self.prefetch,
            "pin_memory": self.pin_memory,
            "persistent_workers": self.persistent,
            "multiprocessing_context": self.start_method,
        }
        return {name: value for name, value in names.items() if value is not None}

    def describe(self) -> str:
        """In words: ``4 workers, 2 batches ahead each``."""
        parts = [plural(self.workers, "worker") if self.workers else "no workers"]
        if self.prefetch is not None:
            parts.append(f"{plural(self.prefetch, 'batch', 'batches')} ahead each")
        if self.batch_size is not None:
            parts.append(f"batches of {self.batch_size}")
        parts += ["pinned memory"] if self.pin_memory else []
        parts += ["workers kept between epochs"] if self.persistent else []
        parts += [f"{plural(self.threads, 'thread')} each"] if self.threads else []
        parts += [f"started by {self.start_method}"] if self.start_method else []
        parts += [f"shared by {self.sharing}"] if self.sharing else []
        parts += [f"bound to CPUs {'; '.join(map(format_cpulist, self.places))}"] if self.places else []
        return ", ".join(parts)


class Found(Value):
    """What a folder holds."""

    paths: tuple[str, ...]
    bytes: int
    files: int
    """Names that were looked at, pictures or not."""
    more: bool
    """Whether there are more than were looked at."""
    device: str
    """``259:2``: major and minor number of its file system's device."""
    real: str


class Rate(Value):
    """How fast files were read, one after the other by one reader."""

    bytes_s: float
    files_s: float
    slow_s: float
    """Of a hundred files, the slowest but one took so long."""


class Reading(Value):
    """How fast the data's files are read."""

    metadata: float
    """Files/s that are looked up, mostly from the kernel's own cache of names."""
    cold: float | None
    """Share of the files that was not in memory when reading began; None where the file system cannot tell."""
    in_order: Rate
    any_order: Rate
    again: Rate
    """From memory."""


class Storage(Value):
    """What the data lies on."""

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
    """What the installed decoders give."""

    looked_at: int
    broken: tuple[Broken, ...]
    missing: dict[str, str]
    mean_bytes: float
    mean_pixels: float
    kind: Literal["jpeg", "png"]
    decoders: tuple[Decoder, ...]


class Dataset(Value):
    """What a Dataset gives."""

    length: int
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


class Footprint(Value):
    """What the parts of a loader hold, measured with one worker or none; from it any setting is predicted."""

    batch_size: int
    main_bytes: int
    """The training process with torch and the Dataset, without workers and batches."""
    worker_bytes: dict[str, int]
    """One worker more by its start method, without its batch."""
    batch_bytes: int
    tensors: int
    growth_bytes: int = 0
    """By which a worker grew with each batch, where it kept growing."""


class Prediction(Value):
    """What a setting is going to hold at most."""

    process_bytes: int
    shared_bytes: int
    files: int

    @property
    def total_bytes(self) -> int:
        return self.process_bytes + self.shared_bytes


class Room(Value):
    """What may be used; None where it is not known."""

    memory_bytes: int | None
    shared_bytes: int | None
    files: int | None


class Trial(Value):
    """One DataLoader in a process of its own."""

    setting: str
    phase: str
    block: int
    outcome: Outcome
    batch_s: float | None = None
    batches: int = 0
    first_s: float | None = None
    waiting: float | None = None
    """Share of the time in which the training waits for a batch, 0..1."""
    held_bytes: int | None = None
    """The most that was seen of it, looked at four times a second."""


class Extra(Value):
    """A change of what is done with a picture, measured with the setting that was found."""

    name: str
    what: str
    speedup: Interval
    verdict: Verdict
    changes: str
    """What it changes in the numbers that the training sees."""


class Chosen(Value):
    """A setting with what it gives."""

    setting: Setting
    batch_size: int
    samples_s: float
    waiting: float | None = None
    first_s: float | None = None
    restart_s: float | None = None
    prediction: Prediction


class Feed(Value):
    """All that one run found out about one data set on one host."""

    started_at: str
    seconds: float
    hostname: str
    data: str
    """What was read, in words."""
    batch_size: int
    step_s: float | None = None
    cpus: int
    disturbance: Disturbance = Disturbance()
    storage: Storage
    decoding: Decoding | None = None
    dataset: Dataset | None = None
    footprint: Footprint | None = None
    room: Room
    refused: dict[str, str] = {}
    """Settings that were not tried, and why."""
    trials: tuple[Trial, ...] = ()
    steps: tuple[Step, ...] = ()
    verdict: Verdict = "undecided"
    why: str = ""
    speedup: Interval | None = None
    default: Chosen | None = None
    best: Chosen | None = None
    validation: Chosen | None = None
    restarts: dict[str, float] = {}
    """Seconds to the first batch of the second epoch, with workers kept and not kept."""
    extras: tuple[Extra, ...] = ()
    broken: tuple[Broken, ...] = ()
    """Files that were skipped while batches were made."""
    problem: str = ""
    """Why no DataLoader could be measured."""
