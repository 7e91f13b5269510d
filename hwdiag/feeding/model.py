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
        """Whether torch takes it, and a worker's threads have a CPU each: without workers there is nothing to prefetch,
        to keep or to bind."""
        of_workers = (self.prefetch, self.persistent, self.threads, self.start_method, self.sharing)
        if not self.workers:
            return not self.places and all(v is None for v in of_workers)
        return all(len(place) >= (self.threads or 1) for place in self.places)

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


class Footprint(Value):
    """What the parts of a loader hold, measured with one worker or none; from it any setting is predicted."""

    batch_size: int
    main_bytes: int
    """The training process with torch and the Dataset, without workers and batches."""
    worker_bytes: dict[str, int]
    """One worker more by its start method, without its batch."""
    first_s: dict[str, float] = {}
    """Until the first batch of one worker, by its start method."""
    batch_bytes: int
    tensors: int
    growth_bytes: int = 0
    """By which a worker grew with each batch, where it kept growing."""
    worker_threads: int = 0
    """Of a worker at work, most of them: those of libraries that it calls beside its own."""


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


CacheKind = Literal["page", "worker", "shared", "lmdb"]


class Kept(Value):
    """Samples that were kept for a while: what they hold, and how fast they are made, written and read."""

    samples: int
    """How many it was measured with."""
    sample_bytes: float
    slot_bytes: int
    """Of the largest."""
    make_s: float
    """To read and decode one."""
    is_same: bool
    """Whether each is the same when it is made again; if not, a cache would end its random changes."""
    lmdb: str | None = None
    """Version of LMDB."""
    lmdb_missing: str = ""
    """Why there is none."""
    write_s: float | None = None
    """To write one, by one process."""
    stall_s: float | None = None
    """The longest that a transaction took."""
    stored_bytes: float | None = None
    """Of the file, for each."""
    cold_s: float | None = None
    """To read one back by one process, out of memory where the file system lets it."""
    warm_s: float | None = None
    """The same from memory."""
    free_bytes: int | None = None
    """Of the file system of the cache's folder."""


class Cache(Value):
    """One place where samples, or the files they are made of, could be kept."""

    kind: CacheKind
    needs_bytes: int
    """For all samples, by all workers together."""
    room_bytes: int
    """What there is for it, beside the loader."""
    keeps: int
    """Samples for which that suffices."""
    hit: float
    """Share of the reads that it answers from the second epoch on, 0..1: what it was measured with."""
    speedup: Interval | None = None
    """Over the same setting without it; of the page cache, over reading each file from the disk."""
    verdict: Verdict = "undecided"
    why: str = ""
    """Why it was not tried, or what the figure leaves out."""


class Caching(Value):
    """Which cache pays for this data set and memory."""

    kept: Kept | None = None
    caches: tuple[Cache, ...] = ()
    chosen: CacheKind | None = None
    folder: str | None = None
    """Where LMDB's file was, and could be."""
    map_bytes: int | None = None
    """LMDB's map size for what it would keep."""
    readers: int | None = None
    """Processes that read it at the same time."""
    queue: int | None = None
    """Samples that wait at most where workers make them and one process writes; None where it is too slow for that."""
    why: str = ""
    """Why there is nothing to keep."""

    def of(self, kind: CacheKind) -> Cache | None:
        """That of this kind."""
        return next((c for c in self.caches if c.kind == kind), None)


class Chosen(Value):
    """A setting with what it gives."""

    setting: Setting
    batch_size: int
    samples_s: float
    waiting: float | None = None
    first_s: float | None = None
    restart_s: float | None = None
    prediction: Prediction


Doing = Literal["data", "disk", "gpu", "waits", "computes"]
"""What a training's main thread does: waits for its workers, for a file, for a GPU, for something else, or runs."""


class Waited(Value):
    """What one training process did, seen from outside."""

    pid: int
    words: str
    """Its command line, short."""
    workers: int
    seconds: float
    looks: int
    shares: dict[Doing, float]
    """Of the looks at its main thread, 0..1."""
    low: float
    high: float
    """95 % interval of the share of the time in which it waits for data."""
    for_a_cpu: float | None = None
    """Share of the time in which its main thread could run and had no CPU."""
    worker_cpu: float | None = None
    """CPUs that one worker used, in the mean; near 1 it had no time to wait."""
    worker_disk: float | None = None
    """Share of the looks at which a worker waited for a file."""
    gpu: float | None = None
    """Use of the GPUs, 0..1, in the mean; None where there is none that tells."""
    stacks: float | None = None
    """Share of the samples of py-spy in which its main thread is within the DataLoader; None without them."""
    stacks_why: str = ""
    """Why there are none."""
    hidden: str = ""
    """Why what its threads wait for is not known."""

    @property
    def share(self) -> float:
        """Share of the time in which it waits for data, 0..1."""
        return self.shares.get("data", 0.0) + self.shares.get("disk", 0.0)


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
    caching: Caching | None = None
    broken: tuple[Broken, ...] = ()
    """Files that were skipped while batches were made."""
    problem: str = ""
    """Why no DataLoader could be measured."""
