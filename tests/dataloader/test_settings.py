"""Settings, what they are going to hold, what is asked of them, and the search among them."""

from __future__ import annotations

import math
import os
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hwdiag.dataloader.budget import BUDGETS, Data
from hwdiag.dataloader.child import Feeder
from hwdiag.dataloader.memory import FILES, available_memory, predict, too_much
from hwdiag.dataloader.model import AvailableMemory, Footprint
from hwdiag.dataloader.run import DataloaderRun
from hwdiag.dataloader.search import (
    WORKERS,
    LoaderLaboratory,
    crowded,
    find_setting,
    lever,
    loader_factors,
    usable_cpus,
    with_workers,
)
from hwdiag.dataloader.setting import LoaderSetting, setting_of
from hwdiag.dataloader.trials import Trials
from hwdiag.experiment.lever import DEFAULT, Factor, Lever, Plan
from hwdiag.experiment.model import Phase
from hwdiag.experiment.search import again
from hwdiag.experiment.timetable import Effort
from hwdiag.host.model import Host, Limits
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from tests.conftest import make_host

MIB = 1 << 20
HELD = Footprint(
    batch_size=32,
    main_bytes=300 * MIB,
    worker_bytes={"": 60 * MIB, "spawn": 250 * MIB},
    batch_bytes=20 * MIB,
    tensors=2,
)
ENOUGH = AvailableMemory(memory_bytes=64 << 30, shared_bytes=32 << 30, files=1024)


def counts(levers: Sequence[Lever]) -> list[int | None]:
    return [setting_of(Plan.of(lever)).workers for lever in levers]


def test_levers_add_up_to_a_setting() -> None:
    two, far = with_workers(2), lever("batches ahead", "4 ahead", prefetch=4)
    both = Plan.of(two, far)
    setting = setting_of(both)
    assert both.title == "2 workers + 4 ahead"
    assert both.id == Plan.of(far, two).id
    assert setting == LoaderSetting(workers=2, prefetch=4)
    assert setting.batches_ahead == 8
    assert setting.arguments() == {"num_workers": 2, "prefetch_factor": 4}
    assert setting.describe() == "2 workers, 4 batches ahead each"
    assert setting_of(both.plus(with_workers(3))) == LoaderSetting(workers=3, prefetch=4)
    assert not setting_of(Plan.of(far)).makes_sense  # torch raises ValueError
    assert crowded(Plan.of(far), 4) == "without workers it has no meaning"
    assert setting_of(DEFAULT) == LoaderSetting()
    assert setting_of(DEFAULT).makes_sense
    assert setting.makes_sense


def test_memory_is_workers_batches_and_what_is_on_its_way() -> None:
    four = LoaderSetting(workers=4, prefetch=3)
    found = predict(HELD, four, 64)
    assert found.shared_bytes == (4 * 3 + 1) * 40 * MIB
    assert found.process_bytes == (300 + 4 * (60 + 40)) * MIB
    assert found.files == FILES + 4 * 6 + 13 * 2
    spawned = predict(HELD, LoaderSetting(workers=4, prefetch=3, start_method="spawn"), 64)
    assert spawned.process_bytes - found.process_bytes == 4 * 190 * MIB
    shared = predict(HELD, LoaderSetting(workers=4, prefetch=3, sharing="file_system"), 64)
    assert shared.files == FILES + 4 * 6
    pinned = predict(HELD, LoaderSetting(workers=4, prefetch=3, pin_memory=True), 64)
    assert pinned.process_bytes - found.process_bytes == found.shared_bytes
    assert predict(HELD, LoaderSetting(), 32).shared_bytes == 0
    leaky = HELD.model_copy(update={"growth_bytes": MIB})
    assert predict(leaky, four, 64).process_bytes - found.process_bytes == 4 * 1000 * MIB


@pytest.mark.parametrize(
    ("available", "why"),
    [
        ({}, ""),
        ({"shared_bytes": 64 * MIB}, "its batches take 0.0977 GiB of /dev/shm, which has 0.0625 GiB"),
        ({"memory_bytes": 512 * MIB}, "it takes 0.547 GiB of the 0.5 GiB that may be used"),
        ({"files": 70}, "it needs 86 open files in one process, and 70 are allowed (ulimit -n)"),
        ({"shared_bytes": None, "memory_bytes": None, "files": None}, ""),
    ],
)
def test_what_does_not_fit_says_why(available: dict[str, int | None], why: str) -> None:
    prediction = predict(HELD, LoaderSetting(workers=2), 32)
    assert too_much(prediction, ENOUGH.model_copy(update=available)) == why


def test_the_room_is_this_processs() -> None:
    host = make_host(limits=Limits(memory_limit_bytes=2 << 30, nofile=(256, 4096)))
    available = available_memory(host)
    assert (available.memory_bytes, available.files) == (2 << 30, 256)
    assert available.shared_bytes is None or available.shared_bytes > 0


def test_factors_begin_with_few_workers_and_follow_the_quota() -> None:
    names = {f.name: [x.title for x in f.levers] for f in loader_factors(make_host(cores_per_node=6))}
    assert names["workers"] == ["1 worker", "3 workers", "6 workers", "12 workers"]
    assert list(names) == ["workers", "batches ahead", "worker CPUs", "worker threads", "sharing"]
    tight = make_host(cores_per_node=32, limits=Limits(cpu_quota=1.5))
    assert usable_cpus(tight) == 2
    assert counts(loader_factors(tight)[0].levers) == [1, 2, 4]
    large = loader_factors(make_host(cores_per_node=128))[0]
    assert counts(large.levers) == [1, 32, 64, 128]
    two = make_host(nodes=2, cores_per_node=2)
    placed = {x.title: setting_of(Plan.of(x)).places for x in of(two, "worker CPUs").levers}
    assert placed["nodes in turn"] == ((0, 1), (2, 3))
    assert placed["on node 1"] == ((2, 3),)
    assert placed["a core each"] == ((0,), (1,), (2,), (3,))
    more = loader_factors(two, batch_sizes=[64], start_methods=["spawn"], cuda=True)
    assert {f.name for f in more} >= {"batch size", "start method", "pinned memory"}
    ids = [x.id for f in more for x in f.levers]
    assert len(set(ids)) == len(ids)


def of(host: Host, name: str) -> Factor:
    return next(f for f in loader_factors(host) if f.name == name)


def test_numbers_of_workers_near_the_best_are_tried_too() -> None:
    """Far ones where the best was the last that was tried; those that came next in the race wherever it was."""
    large = of(make_host(cores_per_node=128), WORKERS)
    near = {n: counts(large.refine(Plan.of(with_workers(n)))) for n in (1, 32, 64, 128)}
    assert near == {1: [], 32: [24, 48, 16], 64: [48, 96], 128: [96, 192, 256]}
    best, next_best = Plan.of(with_workers(64)), Plan.of(with_workers(32))
    assert counts(again(large, best, [best, next_best]).levers) == [32, 48, 96]


def test_workers_are_not_crowded_onto_some_of_the_cpus() -> None:
    one, four = (Plan.of(with_workers(n), lever("worker CPUs", "on node 0", places=((0, 1),))) for n in (1, 4))
    assert crowded(one, 4) == ""
    assert crowded(four, 4) == "its workers would share 2 of 4 CPUs"


def test_a_worker_has_a_cpu_for_each_of_its_threads() -> None:
    bound = LoaderSetting(workers=2, threads=2, places=((0,), (1,)))
    assert not bound.makes_sense
    assert bound.model_copy(update={"places": ((0, 2), (1, 3))}).makes_sense


def test_workers_stay_where_a_setting_puts_them(feeder: Feeder, dataset_file: Callable[[str], str]) -> None:
    """The Dataset raises where it runs on any other CPU than the last that it may use."""
    last = max(os.sched_getaffinity(0))
    file = dataset_file(f"assert os.sched_getaffinity(0) == {{{last}}}, os.sched_getaffinity(0)\nreturn torch.ones(3)")
    trials = Trials(Data("a file", str(Path(file).parent), file), ENOUGH, BUDGETS["quick"], batch_size=4)
    free = Plan.of(with_workers(2))
    run = trials.runner(feeder)
    bound = free.plus(lever("worker CPUs", "the last CPU", places=((last,),)))
    assert run(bound, "screen", 0) is not None, trials.done[-1].outcome
    assert trials.done[-1].name == bound.title
    assert len(os.sched_getaffinity(0)) == 1 or run(free, "screen", 1) is None


class Simulated:
    """A loader bound by decoding, by a disk, or by the training process, with a clock of its own."""

    def __init__(self, decode_s: float, cpus: int, disk_s: float, send_s: float, seed: int = 1) -> None:
        self.decode_s, self.cpus, self.disk_s, self.send_s = decode_s, cpus, disk_s, send_s
        self.now, self.tried = 0.0, set[str]()
        self._random = random.Random(seed)

    def seconds(self, setting: LoaderSetting) -> float:
        workers = setting.workers or 0
        if not workers:
            return self.decode_s + self.disk_s
        ahead = 1 + 0.1 / (setting.prefetch or 2)
        crowd = 1 + 0.02 * max(0, workers - self.cpus)
        decode = self.decode_s / min(workers, self.cpus) * crowd
        return max((decode + self.disk_s / workers) * ahead, self.disk_s / 16, self.send_s)

    def run(self, plan: Plan, phase: Phase, block: int) -> float:  # noqa: ARG002
        self.now += 1.5
        self.tried.add(plan.title)
        return self.seconds(setting_of(plan)) * self._random.lognormvariate(0, 0.02)


def test_what_would_not_fit_is_never_started() -> None:
    loader = Simulated(0.004, 64, 0.0, 0.0)
    available = AvailableMemory(memory_bytes=1 << 30, shared_bytes=None, files=None)
    laboratory = LoaderLaboratory(
        loader.run,
        lambda plan: too_much(predict(HELD, setting_of(plan), 32), available),
        seed=1,
        clock=lambda: loader.now,
    )
    effort = Effort(200, rounds=3, most_pairs=8, finalists=1)
    find_setting(loader_factors(make_host(cores_per_node=64)), laboratory, effort, 0.03)
    assert {"16 workers", "32 workers", "64 workers"} <= set(laboratory.why_not)
    assert all("GiB that may be used" in why for why in laboratory.why_not.values())
    assert not set(laboratory.why_not) & loader.tried


@pytest.mark.long
def test_memory_is_predicted_within_15_percent_of_smaps(pictures: Path) -> None:
    """And never below by more than 5 %: settings that the prediction was not made from, filled to the brim."""
    host = read_host(Root.live())
    run = DataloaderRun(sys.executable, Data("pictures", str(pictures)), host, BUDGETS["quick"], batch_size=32)
    wrong = {}
    with Feeder(sys.executable) as feeder:
        run.look(feeder)
        run.hold(feeder)
        assert not run.problem
        footprint = run.feed().footprint
        assert footprint is not None
        for workers, prefetch, batch_size in ((2, 2, 32), (4, 2, 32), (2, 6, 32), (3, 2, 64), (2, 1, 16)):
            setting = LoaderSetting(workers=workers, prefetch=prefetch, batch_size=batch_size)
            outcome, said = run.trials.ask(feeder, "fill", setting=setting, seconds=5.0, pauses=4, memory=True)
            assert outcome.ok, outcome.detail
            ratio = predict(footprint, setting, batch_size).total_bytes / said["memory"]["held"]
            wrong[workers, prefetch, batch_size] = round(math.log(ratio), 3)
    assert all(math.log(0.95) <= error <= math.log(1.15) for error in wrong.values()), wrong
