"""Sections of a report for each topic's study, by the same functions that its notebook shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from hwdiag.audit import show as audit
from hwdiag.audit.model import Audit
from hwdiag.compat import show as compat
from hwdiag.compat.model import Survey
from hwdiag.core.errors import UsageError
from hwdiag.core.value import TopicStudy
from hwdiag.dataloader import cache_show
from hwdiag.dataloader import rules as advise
from hwdiag.dataloader import show as feeding
from hwdiag.dataloader.model import Feed
from hwdiag.devices import show as devices
from hwdiag.devices import techniques_show
from hwdiag.devices.claims import judged
from hwdiag.devices.model import Study as DevicesStudy
from hwdiag.devices.recommend import choices
from hwdiag.estimate import show as estimate
from hwdiag.estimate.model import EstimateStudy
from hwdiag.explain import show as explain
from hwdiag.explain.model import Explanation
from hwdiag.monitor import show as monitor
from hwdiag.monitor.study import SAMPLES, Recording
from hwdiag.profile import show as profile
from hwdiag.profile.measure import Profiled
from hwdiag.record.model import Record, Topic
from hwdiag.report.section import Section

Sections = Iterator[Section]


def of_explain(found: Explanation, _samples: Path | None) -> Sections:
    """Yield the sections on what is wrong with the program on this host."""
    yield explain.summary(found)
    yield explain.time(found)
    yield explain.seen(found)


def of_audit(found: Audit, _samples: Path | None) -> Sections:
    """Yield the sections on the host's settings, and on what of them helps or harms."""
    yield audit.settings(found)
    yield audit.symptoms(found)
    yield audit.chosen(found)


def of_compat(found: Survey, _samples: Path | None) -> Sections:
    """Yield the sections on packages that die here, and of what."""
    yield compat.results(found)
    if found.crashed:
        yield compat.crashes(found)
    yield compat.environment(found)


def of_dataloader(found: Feed, _samples: Path | None) -> Sections:
    """Yield the sections on the speed of the data, and on what makes it faster."""
    yield feeding.plan(found, advise.plan(found))
    for section in (
        feeding.chosen,
        feeding.storage,
        feeding.decoding,
        feeding.memory,
        feeding.search,
        cache_show.caches,
    ):
        yield section(found)


def of_devices(found: DevicesStudy, _samples: Path | None) -> Sections:
    """Yield the sections on the worth of each device, precision and technique here."""
    yield techniques_show.settings(found, choices(found))
    for section in (
        devices.devices, devices.profile, devices.speedups, devices.precision,
        techniques_show.techniques, techniques_show.batches, techniques_show.targets,
    ):  # fmt: skip
        yield section(found)
    yield techniques_show.claims(judged(found))


def of_estimate(found: EstimateStudy, _samples: Path | None) -> Sections:
    """Yield the sections on what nets compute, and on the error of estimates here."""
    if found.counts:
        yield estimate.counted(found.counts)
    yield estimate.check(found.checked)


def of_monitor(found: Recording, samples: Path | None) -> Sections:
    """Yield the sections on what the machine did."""
    yield monitor.summary(found.monitored, found.findings)
    if samples is not None and samples.is_file():
        yield monitor.over_time(found.monitored, samples)
    yield monitor.findings((*found.findings, *found.checks))
    yield monitor.costs(found.monitored)


def of_profile(found: Profiled, _samples: Path | None) -> Sections:
    """Yield the sections on what bounds the program."""
    traced = found.traced
    parts = () if traced is None else (profile.operations(traced), profile.idle(traced), profile.memory_figure(traced))
    yield Section(profile.verdict(found), parts)


@dataclass(frozen=True)
class Shown:
    """The title and sections of one topic in a report."""

    title: str
    kind: type[TopicStudy]
    sections: Callable[[Any, Path | None], Sections]
    """Of the study, and the samples of a recording where there are some."""


TOPICS: dict[Topic, Shown] = {
    "explain": Shown("The program", Explanation, of_explain),
    "audit": Shown("Host settings", Audit, of_audit),
    "compat": Shown("Will the packages run?", Survey, of_compat),
    "dataloader": Shown("Does the data come fast enough?", Feed, of_dataloader),
    "devices": Shown("Devices, precisions and techniques", DevicesStudy, of_devices),
    "estimate": Shown("Estimates", EstimateStudy, of_estimate),
    "monitor": Shown("What the machine did", Recording, of_monitor),
    "profile": Shown("Profile", Profiled, of_profile),
}
"""All but ``tune``, whose parts are spread over the report."""


def samples_of(record: Record, folder: Path) -> Path:
    """Return the file of a recording's samples, told from this folder."""
    return folder / next((f.path for f in record.files if PurePath(f.path).name == SAMPLES), SAMPLES)


def sections_of(record: Record, topic: Topic, folder: Path | None = None) -> Sections:
    """Yield what a report tells of a topic, its verdict first; nothing where the record has no study of it.

    Raises:
        UsageError: a field of the study is wrong, or its values do not fit together.
    """
    study = record.study(topic, TOPICS[topic].kind)
    try:
        yield from () if study is None else TOPICS[topic].sections(study, folder and samples_of(record, folder))
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"studies.{topic} cannot be shown: its values do not fit together ({error!r:.200})") from None
