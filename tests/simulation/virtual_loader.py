"""Hosts that are not there, and how fast a DataLoader is on them: bound by the disk, by decoding, or by the training.

A stationary pipeline is as fast as its slowest stage (the bottleneck law of Denning & Buzen 1978): workers that read
and decode, the CPUs that they share, the disk's own limit, and the training process, which takes over one batch after
the other. Around that: batches of unequal length, which few batches ahead cannot even out; CPUs that are taken away
where too many want them; caches that are lost where the kernel moves a worker.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

import numpy as np

from hwdiag.agent.dataloader.loading import MOST
from hwdiag.dataloader.search import MOST_WORKERS, WORKERS, loader_factors, usable_cpus, with_workers
from hwdiag.dataloader.setting import LoaderSetting, setting_of
from hwdiag.experiment.lever import Factor, Plan
from hwdiag.experiment.model import Phase
from hwdiag.host.model import Host
from tests.simulation.virtual_hosts import make_host

BATCH = 32
CORES = (2, 4, 6, 8, 12, 16, 24, 32, 48, 64)
MOST_PER_CPU = 4
"""Workers that the search may come to where each only waits for the disk."""
BOUNDS = ("disk", "decode", "transfer")


@dataclass(frozen=True)
class VirtualLoader:
    """A host, and what decides how fast samples come on it. Seconds are those of one sample."""

    host: Host
    bound: Literal["disk", "decode", "transfer"]
    decode_s: float
    """Of one CPU."""
    latency_s: float
    """From asking for a file to having it."""
    disk_s: float
    """Between two files that the disk gives, whoever asks."""
    take_s: float
    """Of the training process, for each sample of a batch."""
    send_s: float
    """Of the worker, for each sample of a batch."""
    smt_yield: float
    unequal: float
    """Standard deviation of a batch's time, of its mean."""
    crowd: float
    """Loss by each worker more than CPUs, as a share of all of them."""
    spill: float
    """Loss by many batches on their way, which leave the caches."""
    migration: float
    """Loss of workers that are moved."""
    remote: float
    """Loss of workers on another node than the training."""
    helps: float
    """How much faster a second thread makes a worker that has CPUs to itself."""
    split: float
    """How much more work two threads are."""
    file_system: float
    """What the other way to share costs or gains."""

    @property
    def factors(self) -> list[Factor]:
        """What may be set on it."""
        return loader_factors(self.host)

    def capacity(self, cpus: Sequence[int], busy: float) -> float:
        """CPUs' worth of work that these give when so many want to run."""
        allowed = set(cpus)
        cores = [sum(c in allowed for c in core) for core in self.host.usable_cores]
        cores = sorted(filter(None, cores))
        single = min(busy, float(len(cores)))
        paired = sum(n > 1 for n in cores)
        second = max(0.0, min(busy - single, float(paired)))
        quota = self.host.limits.cpu_quota or float(len(cpus))
        return min(quota, single + second * (self.smt_yield - 1))

    def seconds(self, setting: LoaderSetting) -> float:
        """Of one sample, without noise."""
        workers = setting.workers or 0
        if not workers:
            return self.decode_s + self.latency_s + self.take_s
        *stages, over = self.stages(setting)
        stages += [self.take_s * (1 + self.crowd * over)]
        ahead = setting.batches_ahead
        uneven = 1 + self.unequal / np.sqrt(max(1, ahead))
        sharing = self.file_system if setting.sharing == "file_system" else 1.0
        slowest = float((np.array(stages) ** 8).sum() ** (1 / 8))  # two stages that are equal wait for each other
        return float(slowest * uneven * (1 + self.spill * np.log2(max(1, ahead))) * sharing)

    def stages(self, setting: LoaderSetting) -> tuple[float, float, float]:
        """Seconds of one sample in the workers and on the disk, and how far the CPUs are crowded."""
        workers = setting.workers or 0
        usable = self.host.usable_cpus
        places = setting.places or (tuple(usable),)
        used = [places[n % len(places)] for n in range(workers)]
        allowed = sorted({cpu for place in used for cpu in place})
        threads = setting.threads or 1
        decode = self.decode_s * (self.split if threads > 1 else 1.0) + self.send_s
        decode *= 1 if setting.places else 1 + self.migration
        nodes = [set(node.cpus) for node in self.host.numa]
        if len(nodes) > 1:
            decode *= 1 + self.remote * (1 - sum(bool(set(place) & nodes[0]) for place in used) / workers)
        wanting = workers * decode / (decode + self.latency_s)
        cpus = self.capacity(allowed, wanting)
        over = max(0.0, wanting / max(1, usable_cpus(self.host)) - 1)
        by_cpu = decode / cpus * (1 + self.crowd * over)
        alone = decode / (self.helps if threads > 1 else 1.0) + self.latency_s
        by_worker = alone / workers
        return max(by_cpu, by_worker), self.disk_s, over

    def first_s(self, setting: LoaderSetting) -> float:
        """Until the first batch, while each worker makes one: the training has taken none yet."""
        workers = setting.workers or 0
        return BATCH * (workers * max(self.stages(setting)[:2]) if workers else self.seconds(setting))

    def exhaustive(self) -> Iterator[LoaderSetting]:
        """Every number of workers that is worth a look with every combination of the other factors' levers.

        All up to 32, and from there on in steps of a twentieth, up to four a CPU, or 64.
        """
        others = [(None, *factor.levers) for factor in self.factors if factor.name != WORKERS]
        yield LoaderSetting()
        for count in self.counts():
            for chosen in product(*others):
                whole = setting_of(Plan.of(with_workers(count), *filter(None, chosen)))
                if whole.makes_sense:
                    yield whole

    def counts(self) -> Iterator[int]:
        """Of workers."""
        count = 1
        while count <= max(MOST_WORKERS, MOST_PER_CPU * usable_cpus(self.host)):
            yield count
            count += max(1, count // 20 if count >= 32 else 1)

    def least(self) -> tuple[float, int]:
        """The least time of all settings, and how many there are."""
        times = [self.seconds(s) for s in self.exhaustive()]
        return min(times), len(times)


def random_loader(seed: int) -> VirtualLoader:
    """A host of 2 to 128 CPUs, bound in turn by its disk, by decoding, and by the training process."""
    r = random.Random(seed)

    def between(low: float, high: float) -> float:
        return float(np.exp(r.uniform(np.log(low), np.log(high))))

    bound = BOUNDS[seed % len(BOUNDS)]
    cores = CORES[seed // len(BOUNDS) % len(CORES)]
    nodes = 1 if cores < 8 else r.choice((1, 1, 2, 4))
    smt = r.choice((1, 2))
    quota = cores / 2 if r.random() < 0.1 else None
    host = make_host(r, cores=cores, nodes=nodes, smt=smt, mixed=False, quota=quota, vendor="AuthenticAMD")
    decode_s = between(1e-3, 1e-2)
    fast = decode_s / cores
    disk_s = between(1.5, 5) * fast if bound == "disk" else between(0.02, 0.5) * fast
    take_s = between(1.5, 5) * fast if bound == "transfer" else between(0.02, 0.5) * fast
    return VirtualLoader(
        host=host,
        bound=bound,  # type: ignore[arg-type]
        decode_s=decode_s,
        latency_s=between(1e-4, 1e-2) if bound == "disk" else between(5e-5, 1e-3),
        disk_s=disk_s,
        take_s=take_s,
        send_s=decode_s * r.uniform(0, 0.1),
        smt_yield=r.uniform(1.0, 1.35),
        unequal=r.uniform(0.0, 0.4),
        crowd=r.uniform(0.0, 0.2),
        spill=r.uniform(0.0, 0.01),
        migration=r.uniform(0.0, 0.06),
        remote=r.uniform(0.0, 0.15),
        helps=r.uniform(1.0, 1.5),
        split=r.uniform(1.0, 1.15),
        file_system=r.uniform(0.95, 1.05),
    )


@dataclass(frozen=True)
class FlatLoader:
    """A host on which no setting makes a difference."""

    host: Host
    sample_s: float = 0.005

    @property
    def factors(self) -> list[Factor]:
        """What may be set on it."""
        return loader_factors(self.host)

    def seconds(self, setting: LoaderSetting) -> float:  # noqa: ARG002
        """Of one sample, without noise."""
        return self.sample_s

    def first_s(self, setting: LoaderSetting) -> float:
        """Until the first batch."""
        return BATCH * self.sample_s * max(1, setting.workers or 0)


@dataclass
class VirtualTrials:
    """What measures on a virtual host, with noise and a clock of its own."""

    loader: VirtualLoader | FlatLoader
    noise: float
    """Standard deviation of the logarithm of one trial."""
    window_s: float
    warmup_s: float
    seed: int
    tail: float | None = None
    """Degrees of freedom of Student's distribution, where the noise has heavy tails; None for a normal one."""
    now: float = 0.0
    done: int = 0
    tried: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)

    def run(self, plan: Plan, phase: Phase, block: int) -> float:  # noqa: ARG002
        """As ``search.Try`` wants it."""
        setting = setting_of(plan)
        seconds = self.loader.seconds(setting)
        self.now += self.trial_s(setting, seconds)
        self.done += 1
        self.tried.add(plan.id)
        return float(seconds * np.exp(self.noise * self._deviate()))

    def timed(self, name: str, phase: Phase, block: int) -> float:  # noqa: ARG002
        """As ``alternatives.Time`` wants it: every way to make a batch takes as long."""
        seconds = self.loader.seconds(LoaderSetting())
        self.now += self.trial_s(LoaderSetting(), seconds)
        self.done += 1
        return float(seconds * np.exp(self.noise * self._deviate()))

    def clock(self) -> float:
        """Return the seconds since it was started."""
        return self.now

    def trial_s(self, setting: LoaderSetting, sample_s: float) -> float:
        """Seconds of a trial, as ``agent/dataloader/loading.py`` times it: its process, its workers, and a batch of
        each within warm-up and window, which end after ``MOST`` windows whatever is missing."""
        workers = setting.workers or 0
        started = {"spawn": 2.5, "forkserver": 1.5}.get(setting.start_method or "", 0.0) + 0.01 * workers
        most, round_s = MOST * self.window_s, BATCH * sample_s * max(1, workers)
        warm, window = (min(most, max(least, round_s)) for least in (self.warmup_s, self.window_s))
        return 0.15 + started + self.loader.first_s(setting) + warm + window

    def _deviate(self) -> float:
        return float(self._random.normal() if self.tail is None else self._random.standard_t(self.tail))
