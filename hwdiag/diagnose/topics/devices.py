"""Devices and precisions in a run: the speed of each kernel, once."""

from __future__ import annotations

from pathlib import Path

from hwdiag.core.text import plural
from hwdiag.devices import show, techniques_show
from hwdiag.devices.claims import judged
from hwdiag.devices.model import Study
from hwdiag.devices.recommend import choices
from hwdiag.devices.study import Measuring
from hwdiag.diagnose.topic import Asking, Sections, TopicAnswer, TopicEntry

NEEDED_S = 25.0
"""One process that measures every kernel in every type, on two cores."""


def sections(found: Study, _samples: Path | None) -> Sections:
    """Yield the sections on the worth of each device, precision and technique here."""
    is_whole = bool(found.finished_at or found.gains)  # a run's short question has neither
    if is_whole:
        yield techniques_show.settings(found, choices(found))
    yield from (show.devices(found), show.profile(found), show.speedups(found), show.precision(found))
    if is_whole:
        yield techniques_show.techniques(found)
        yield techniques_show.batches(found)
        yield techniques_show.targets(found)
        yield techniques_show.claims(judged(found))


def ask(asking: Asking) -> TopicAnswer:
    """Measure kernels and precisions on each device, in one process each."""
    asking.need(NEEDED_S)
    measuring = Measuring(
        asking.python,
        asking.host,
        budget="quick",
        min_effect=asking.profile.min_effect / 100,
        seed=asking.profile.seed,
        timeout_s=min(asking.timeout_s, asking.seconds),
        progress=asking.progress,
    )
    found = measuring.profile()
    names = plural(len(found.devices), "device")
    return TopicAnswer(found, f"{plural(len(found.workloads), 'kernel')} and precisions on {names}")


ENTRY = TopicEntry(
    title="Devices, precisions and techniques",
    kind=Study,
    sections=sections,
    command="hwdiag devices",
    beyond="training, other batch sizes, and the advice of tuning guides",
    ask=ask,
)
