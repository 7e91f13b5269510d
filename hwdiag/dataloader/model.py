"""Feed: all that was measured of one data set on one host. Sizes in bytes."""

from __future__ import annotations

from hwdiag.core.interval import Interval
from hwdiag.core.value import TopicStudy, Value
from hwdiag.dataloader.cache_model import Caching
from hwdiag.dataloader.dataset import Broken, Dataset, Decoding, Storage
from hwdiag.dataloader.setting import LoaderSetting
from hwdiag.experiment.lever import DEFAULT, Plan
from hwdiag.experiment.model import SearchStep, Verdict
from hwdiag.process.model import Disturbance, Outcome


class Footprint(Value):
    """The memory of a loader's parts, measured with one worker or none. Any setting is predicted from it."""

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
    """The most that a setting is going to hold."""

    process_bytes: int
    shared_bytes: int
    files: int

    @property
    def total_bytes(self) -> int:
        return self.process_bytes + self.shared_bytes


class AvailableMemory(Value):
    """The memory and open files that may be used; None where it is not known."""

    memory_bytes: int | None
    shared_bytes: int | None
    files: int | None


class LoaderTrial(Value):
    """One DataLoader in a process of its own."""

    name: str
    """Of its plan, or of the other way to make a batch."""
    phase: str
    block: int
    outcome: Outcome
    batch_s: float | None = None
    batches: int = 0
    first_s: float | None = None
    waiting: float | None = None
    """Share of the time in which the training waits for a batch, 0..1."""
    memory_bytes: int | None = None
    """The most that was seen of it, looked at four times a second."""


class Extra(Value):
    """A change of what is done with a picture, measured with the setting that was found."""

    name: str
    what: str
    speedup: Interval
    verdict: Verdict
    changes: str
    """What it changes in the numbers that the training sees."""


class ChosenSetting(Value):
    """A setting with what it gives."""

    plan: Plan = DEFAULT
    """The levers that were taken."""
    setting: LoaderSetting
    batch_size: int
    samples_s: float
    waiting: float | None = None
    first_s: float | None = None
    restart_s: float | None = None
    prediction: Prediction


class Feed(TopicStudy):
    """All that one run found out about one data set on one host."""

    seconds: float
    hostname: str
    data: str
    """What was read, in words."""
    batch_size: int
    step_s: float | None = None
    cpus: int
    disturbance: Disturbance = Disturbance()
    given_s: float = 0.0
    """Seconds that answers were given beyond their limits, since others had the CPUs."""
    storage: Storage
    decoding: Decoding | None = None
    dataset: Dataset | None = None
    footprint: Footprint | None = None
    available: AvailableMemory
    refused: dict[str, str] = {}
    """Settings that were not tried, and why."""
    trials: tuple[LoaderTrial, ...] = ()
    plans: tuple[Plan, ...] = ()
    """All that were tried in the search, today's default first."""
    steps: tuple[SearchStep, ...] = ()
    verdict: Verdict = "undecided"
    why: str = ""
    speedup: Interval | None = None
    default: ChosenSetting | None = None
    best: ChosenSetting | None = None
    validation: ChosenSetting | None = None
    restarts: dict[str, float] = {}
    """Seconds to the first batch of the second epoch, with workers kept and not kept."""
    extras: tuple[Extra, ...] = ()
    caching: Caching | None = None
    broken: tuple[Broken, ...] = ()
    """Files that were skipped while batches were made."""
    problem: str = ""
    """Why no DataLoader could be measured."""
