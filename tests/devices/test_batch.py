"""Batch sizes: what fits is found by doubling and bisection, and what runs out of memory costs a child, not the run."""

from __future__ import annotations

import sys

import pytest

from hwdiag.devices.batch import RESOLUTION, double_and_bisect, search_batches
from hwdiag.devices.claims import judged
from hwdiag.devices.model import BatchPoint, BatchSearch, Device
from hwdiag.process.model import Outcome
from tests.devices.samples import CPU, study

OK = Outcome(kind="ok")
FULL = Outcome(kind="out-of-memory", detail="RuntimeError: can't allocate memory")


def holds(limit: int, seconds: float = 0.001) -> list[int]:
    tried: list[int] = []

    def measure(batch: int) -> BatchPoint:
        tried.append(batch)
        fits = batch <= limit
        return BatchPoint(batch=batch, seconds=seconds * batch if fits else None, outcome=OK if fits else FULL)

    points, stopped = double_and_bisect(measure, slowest_s=1e9, most=4096)
    assert stopped == ""
    assert [p.batch for p in points] == sorted(tried)
    largest = max((p.batch for p in points if p.outcome.ok), default=0)
    assert largest <= limit
    assert limit - largest <= max(1, RESOLUTION * limit)
    return tried


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 5, 31, 32, 33, 100, 1000])
def test_what_fits_is_found_within_an_eighth(limit: int) -> None:
    tried = holds(limit)
    assert len(tried) <= 2 * max(1, limit).bit_length() + 3
    assert len(set(tried)) == len(tried)


def test_it_stops_where_a_batch_takes_too_long_and_says_so() -> None:
    points, stopped = double_and_bisect(lambda b: BatchPoint(batch=b, seconds=0.1 * b, outcome=OK), 1.0, 4096)
    assert [p.batch for p in points] == [1, 2, 4, 8, 16]
    assert stopped == "a batch of 16 takes 1.6 s"


@pytest.mark.parametrize(
    ("most_tries", "sizes", "why"),
    [(3, [1, 2, 4], "the time was up"), (6, [1, 2, 4, 8, 12, 16], "and fewer than 16; the time was up")],
)
def test_it_ends_in_time_and_says_so(most_tries: int, sizes: list[int], why: str) -> None:
    """Each size is a process that imports torch and starts the device: on a large GPU there are more than a dozen."""
    tried: list[int] = []

    def measure(batch: int) -> BatchPoint:
        tried.append(batch)
        fits = batch <= 13
        return BatchPoint(batch=batch, seconds=0.001 if fits else None, outcome=OK if fits else FULL)

    points, stopped = double_and_bisect(measure, 1.0, 4096, lambda: len(tried) >= most_tries)
    assert [p.batch for p in points] == sizes
    assert stopped == why


def test_an_error_that_is_no_want_of_memory_ends_it() -> None:
    wrong = Outcome(kind="error", detail="x")
    points, _ = double_and_bisect(lambda b: BatchPoint(batch=b, outcome=wrong), 1.0, 4096)
    assert [p.batch for p in points] == [1]


def test_the_best_is_the_smallest_near_the_highest_rate() -> None:
    rates = {1: 10.0, 2: 18.0, 4: 24.5, 8: 25.0, 16: 25.2}
    points = tuple(BatchPoint(batch=b, seconds=b / r, outcome=OK) for b, r in rates.items())
    found = BatchSearch(net="resnet18", mode="inference", device="cpu", points=points)
    assert found.best is not None
    assert found.largest is not None
    assert (found.best.batch, found.largest.batch) == (4, 16)
    (kept,) = (k for p, k in judged(study(batches=(found,))) if p.claim == "The right batch size is worth a search")
    assert kept.standing == "holds here"
    nothing = BatchSearch(net="resnet18", mode="inference", device="cpu", points=(BatchPoint(batch=1, outcome=FULL),))
    assert nothing.best is None


@pytest.mark.long
def test_a_child_with_little_memory_runs_out_of_it_and_the_search_goes_on() -> None:
    """With 400 MB beside torch itself: a training step keeps what its backward pass needs."""
    device = Device(name="cpu", title=CPU.title)
    found = search_batches(
        sys.executable, "resnet18", "training", device, limit_bytes=400 * 10**6, slowest_s=30, most=64
    )
    assert found.largest is not None, found.points
    failed = [p for p in found.points if not p.outcome.ok]
    assert failed
    assert {p.outcome.kind for p in failed} == {"out-of-memory"}, failed
    assert all("\n" not in p.outcome.detail for p in failed)
    assert min(p.batch for p in failed) > found.largest.batch
