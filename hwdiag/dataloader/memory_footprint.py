"""Memory footprint of a Dataset and of a loader's parts: measured with one worker, for any number of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hwdiag.dataloader import memory
from hwdiag.dataloader.child import Feeder
from hwdiag.dataloader.dataset import Dataset
from hwdiag.dataloader.model import Footprint, Prediction
from hwdiag.dataloader.setting import LoaderSetting
from hwdiag.dataloader.trials import CannotLoad, Trials

LEAK_SHARE = 0.02
"""A worker that holds this much more after each pause, of what it holds, keeps growing."""
OWN_THREADS = 3
"""Threads of a worker whose libraries start none: itself, and those that send its batches and their file handles."""
PAUSES = 7
"""How often a consumer stops until all has been made that may be; one that only tells start methods apart, once. A
worker's heap goes up and down by some MiB from pause to pause, so growth twice in a row is no leak yet."""
FILL_S = 2.0
"""How long, at most, workers are waited for until they have made all that they may."""


def dataset(trials: Trials, feeder: Feeder) -> Dataset:
    """Return what the Dataset gives. Raises ``CannotLoad`` where it gives nothing that a loader can use."""
    outcome, said = trials.ask(feeder, "look", batch_size=trials.batch_size)
    if not outcome.ok:
        raise CannotLoad(outcome.detail)
    said.pop("memory")
    return Dataset.model_validate(said)


def footprint(trials: Trials, feeder: Feeder, found: Dataset) -> Footprint:
    """Return the memory of the training process, of a worker by its start method, and of a batch.

    Raises ``CannotLoad`` where not even one worker fits, or none works.
    """
    one = Prediction(process_bytes=0, shared_bytes=3 * found.batch_bytes, files=memory.FILES + 3 * found.tensors)
    if why := memory.too_much(one, trials.available):
        raise CannotLoad(f"not even one worker fits: {why}")
    usual = filled(trials, feeder, None)
    if isinstance(usual, str):
        raise CannotLoad(usual)
    held, first_s = {"": max(0, usual["memory"]["workers"] - found.batch_bytes)}, {"": usual["first_s"]}
    for method in trials.start_methods():
        said = filled(trials, feeder, method)
        if not isinstance(said, str):
            held[method] = max(0, said["memory"]["workers"] - found.batch_bytes)
            first_s[method] = said["first_s"]
    return Footprint(
        batch_size=trials.batch_size,
        main_bytes=usual["memory"]["apart"] - usual["memory"]["workers"],
        worker_bytes=held,
        first_s=first_s,
        batch_bytes=found.batch_bytes,
        tensors=found.tensors,
        growth_bytes=growth_of(usual),
        worker_threads=usual["memory"]["threads"],
    )


def filled(trials: Trials, feeder: Feeder, method: str | None) -> dict[str, Any] | str:
    """Return the memory with one worker that has made all the batches that it may, or why there is none."""
    setting = LoaderSetting.model_validate({"workers": 1, "batch_size": trials.batch_size, "start_method": method})
    pauses = 1 if method else PAUSES
    outcome, said = trials.ask(feeder, "fill", setting=setting, seconds=FILL_S, pauses=pauses, memory=True)
    return said if outcome.ok else outcome.detail


def growth_of(said: dict[str, Any]) -> int:
    """Return the bytes by which a worker grows with each batch; 0 unless it grew from each pause to the next."""
    held = said["held_at_rest"]
    steps = [after - before for before, after in pairwise(held[1:])]
    if not steps or min(steps) < max(LEAK_SHARE * held[-1], 1 << 20):
        return 0
    return int(min(steps) / said["batches_between"])
