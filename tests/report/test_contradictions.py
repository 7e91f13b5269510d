"""No sentence stands beside its contradiction: who compared nothing does not say that nothing was better."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hwdiag.dataloader import cache_show, show
from hwdiag.dataloader import rules as loader_rules
from hwdiag.dataloader.model import Feed, LoaderTrial
from hwdiag.dataloader.search import LoaderLaboratory, find_setting
from hwdiag.devices import show as devices_show
from hwdiag.devices import techniques_show
from hwdiag.devices.gains import gains
from hwdiag.devices.model import Study
from hwdiag.devices.recommend import choices
from hwdiag.diagnose import sections
from hwdiag.experiment.lever import DEFAULT
from hwdiag.experiment.timetable import Effort
from hwdiag.process.model import Outcome
from hwdiag.report.section import Section
from tests.dataloader.test_notebook import EXAMPLE, read
from tests.devices.samples import CPU, RESNET, pairs, planned, study
from tests.report.samples import changed, make_record
from tests.simulation.virtual_loader import random_loader

COMPARED = (
    r"nothing (else )?was shown to|none is faster|none was faster|as good as anything|keep what you have|"
    r"nothing was worth|pays here|nothing else to try|no other way looked faster|what looked better was not|"
    r"no other way to start it (to compare|is known)"
)
"""Words that are said of what was compared."""
NOT_COMPARED = (
    r"no time|no turn|not measured|not tried|not be measured|none of the \d+ others|did not get there|"
    r"not in this budget|nothing was measured|no technique|could not be made: all|compared with no other|time was up"
)
"""Words that are said where nothing was."""
FAILED = Outcome(kind="error", detail="the worker died")


def contradictions(section: Section) -> list[str]:
    """The sentences of a section that claim to have compared beside ones that say that nothing was."""
    said = section.verdict
    both = (re.search(words, said, re.IGNORECASE) for words in (COMPARED, NOT_COMPARED))
    return [said] if all(both) else []


def searched(run: Callable[..., float | None], total_s: float) -> dict[str, Any]:
    """What a real search of a DataLoader's setting ends with."""
    loader, now = random_loader(1), [0.0]

    def timed(*about: Any) -> float | None:
        now[0] += 1
        return run(*about)

    laboratory = LoaderLaboratory(timed, lambda plan: "", 1, lambda: now[0])
    found = find_setting(loader.factors, laboratory, Effort(total_s, 2, 8, finalists=1), 0.03)
    decision = found.decision()
    return {
        "verdict": decision.verdict,
        "why": decision.why,
        "speedup": decision.speedup,
        "plans": found.plans,
        "steps": tuple(found.screening.steps),
    }


def feeds() -> Iterator[tuple[str, Feed]]:
    """Runs of the DataLoader in which something was compared, failed, or had no turn."""
    feed = read(EXAMPLE)
    assert feed.default is not None

    def ended(name: str, result: dict[str, Any], others: Outcome | None, **more: Any) -> tuple[str, Feed]:
        trials = [t for t in feed.trials if t.name == DEFAULT.title]
        trials += [LoaderTrial(name="2 workers", phase="screen", block=1, outcome=others)] if others else []
        return name, feed.model_copy(update={**result, "trials": tuple(trials), "best": feed.default, **more})

    yield ended("no time", searched(lambda *a: 1.0, 0.0), None)
    yield ended("all others failed", searched(lambda plan, *a: 1.0 if plan.is_default else None, 50.0), FAILED)
    yield ended("none better", searched(lambda *a: 1.0, 50.0), Outcome(kind="ok"))
    yield ended("no caches", searched(lambda *a: 1.0, 0.0), None, caching=None, extras=())
    yield "nothing loads", feed.model_copy(update={"problem": "dataset[0] raises ValueError", "best": None})


def studies() -> Iterator[tuple[str, Study]]:
    """Studies of devices in which techniques were compared, failed, or had no turn."""
    yield "no technique", study()
    for name, ratio, count, outcome in (
        ("all failed", 1.0, 8, FAILED),
        ("undecided", 1.2, 3, Outcome(kind="ok")),
        ("worse", 0.5, 12, Outcome(kind="ok")),
        ("better", 1.5, 12, Outcome(kind="ok")),
    ):
        seen = pairs("channels-last", ratio, count=count, outcome=outcome)
        yield name, study(gains=gains(seen, [RESNET], [CPU], planned("channels-last"), 0.03))
    yield "nothing at all", study().model_copy(update={"estimates": (), "measurements": (), "gains": ()})


def shown() -> Iterator[tuple[str, Section]]:
    """All sections of all of them."""
    for name, feed in feeds():
        for part in (show.storage, show.decoding, show.memory, show.search, show.chosen, cache_show.caches):
            yield f"dataloader, {name}, {part.__name__}", part(feed)
        yield f"dataloader, {name}, plan", show.plan(feed, loader_rules.plan(feed))
    for name, found in studies():
        yield f"devices, {name}, settings", techniques_show.settings(found, choices(found))
        yield f"devices, {name}, techniques", techniques_show.techniques(found)
        yield f"devices, {name}, profile", devices_show.profile(found)
    record = make_record()
    untried = {"steps": (), "comparisons": (), "untried": ("2 threads", "jemalloc")}
    screened = tuple(c for c in sections.tuning(record).comparisons if c.phase == "screen")
    for name, more in (
        ("whole", {}),
        ("no time", untried),
        ("nothing to try", {**untried, "untried": ()}),
        ("screened alone", {"comparisons": screened}),
    ):
        for section in (sections.search, sections.comparisons, sections.noise, sections.threads, sections.engines):
            yield f"diagnose, {name}, {section.__name__}", section(changed(record, **more))


@pytest.fixture(scope="module")
def all_shown() -> dict[str, Section]:
    return dict(shown())


def test_no_sentence_stands_beside_its_contradiction(all_shown: dict[str, Section]) -> None:
    assert len(all_shown) > 60
    assert {name: both for name, section in all_shown.items() if (both := contradictions(section))} == {}


def test_the_words_find_the_pair_that_was_there() -> None:
    old = "torch's default, no workers, stays: nothing else was shown to be better: 9 samples/s; there was no time to"
    assert contradictions(Section(old, ()))
    assert contradictions(Section("No technique was measured. Keep what you have.", ()))


def test_what_was_not_compared_says_so(all_shown: dict[str, Section]) -> None:
    said = {name: section.verdict for name, section in all_shown.items()}
    assert "was compared with no other setting" in said["dataloader, no time, search"]
    assert "was compared with no other setting" in said["dataloader, all others failed, search"]
    assert "no technique was compared" in said["devices, no technique, settings"]
    assert "could be compared" in said["devices, all failed, techniques"]
    assert "1 of 1 comparisons are undecided" in said["devices, undecided, techniques"]
    assert "2 levers had no turn in the time" in said["diagnose, no time, search"]
    assert said["diagnose, no time, comparisons"] == said["diagnose, no time, search"]
    assert said["diagnose, nothing to try, search"] == "No other way to start it is known here."
