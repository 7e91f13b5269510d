"""The data in a run, where a folder of it is given: its storage, its decoders, and the workers that read it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from hwdiag.core.finding import Check
from hwdiag.core.outside import user_path
from hwdiag.dataloader import cache_show, rules, show
from hwdiag.dataloader.budget import BUDGETS, Data
from hwdiag.dataloader.child import Feeder
from hwdiag.dataloader.model import Feed
from hwdiag.dataloader.run import DataloaderRun
from hwdiag.dataloader.search import usable_cpus, with_workers
from hwdiag.dataloader.setting import setting_of
from hwdiag.diagnose.topic import Asking, NotAskedError, Sections, TopicAnswer, TopicEntry
from hwdiag.experiment.lever import DEFAULT, Plan

NEEDED_S = 10.0
"""Reading, decoding, and a loader with workers and without."""
MOST_S = 60.0
"""For reading and decoding, which take shares of the whole time."""


def sections(found: Feed, _samples: Path | None) -> Sections:
    """Yield the sections on the speed of the data, and on what makes it faster."""
    yield show.plan(found, rules.plan(found))
    for section in (show.chosen, show.storage, show.decoding, show.memory, show.search, cache_show.caches):
        yield section(found)


def ask(asking: Asking) -> TopicAnswer:
    """Read and decode some of the pictures, and try a loader without workers and with one for each CPU."""
    folder = asking.profile.data_dir
    if folder is None:
        raise NotAskedError("no data was given: give --data FOLDER")
    asking.need(NEEDED_S)
    place = str(user_path(folder).absolute())
    skipped = tempfile.NamedTemporaryFile(prefix="hwdiag-skipped-")  # noqa: SIM115  as long as the run
    run = DataloaderRun(
        asking.python,
        Data(f"pictures in {place}", place, broken=skipped.name),
        asking.host,
        BUDGETS["quick"].model_copy(update={"total_s": min(MOST_S, asking.seconds)}),
        min_effect=asking.profile.min_effect / 100,
        timeout_s=min(asking.timeout_s, 30.0),
        seed=asking.profile.seed,
        progress=asking.progress,
    )
    with Feeder(asking.python) as feeder:
        for step in (run.look, run.read, run.decode, run.hold):
            step(feeder)
        hope = glance(run, feeder)

    def deepen(seconds: float) -> TopicAnswer:
        """Search for the loader's setting, and return the answer with it."""
        spent = run.trials.clock() - run.trials.begun
        run.trials.budget = run.trials.budget.model_copy(update={"total_s": spent + seconds})
        with Feeder(asking.python) as feeder:
            run.search(feeder)
            run.round_off(feeder)
        skipped.close()
        return answer(run.feed(), hope)

    return answer(run.feed(), hope) if run.problem else answer(run.feed(), hope, deepen)


def glance(run: DataloaderRun, feeder: Feeder) -> float | None:
    """Return how many times faster a worker for each CPU gives samples than none, in one trial each; None where it
    cannot be told."""
    many = Plan.of(with_workers(usable_cpus(run.host)))
    if run.problem or run.trials.too_much(setting_of(many)):
        return None
    timed = run.trials.runner(feeder)
    alone, together = timed(DEFAULT, "screen", 0), timed(many, "screen", 0)
    return alone / together if alone and together else None


def answer(found: Feed, hope: float | None, deepen: Callable[[float], TopicAnswer] | None = None) -> TopicAnswer:
    """Return what was found of the data as an answer."""
    said = (Check(id="data", state="unchecked", title="The data", detail=found.problem),) if found.problem else ()
    looked_at = f"storage, decoders and loaders of {found.data}"
    return TopicAnswer(found, looked_at, said, hope, deepen)


ENTRY = TopicEntry(
    title="Does the data come fast enough?",
    kind=Feed,
    sections=sections,
    command="hwdiag dataloader --data FOLDER",
    beyond="how fast pictures are read and decoded, other batch sizes, and whether a training waits for its data",
    ask=ask,
)
