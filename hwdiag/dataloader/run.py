"""One run, step by step: the data, its storage, its decoders, what a loader holds, the search, and what goes with it.

Each step needs the one before it; one that fails leaves its reason, and the steps that don't need it go on.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from hwdiag.core.text import now
from hwdiag.dataloader import alternatives, caches, epochs, memory, memory_footprint, storage
from hwdiag.dataloader.budget import Data, FeedBudget
from hwdiag.dataloader.cache_model import Caching
from hwdiag.dataloader.child import Feeder
from hwdiag.dataloader.dataset import Broken, Decoding, FolderContent
from hwdiag.dataloader.model import AvailableMemory, ChosenSetting, Feed
from hwdiag.dataloader.search import LoaderLaboratory, crowded, find_setting, loader_factors, usable_cpus
from hwdiag.dataloader.setting import setting_of
from hwdiag.dataloader.trials import CannotLoad, Progress, Trials
from hwdiag.experiment.lever import DEFAULT, Plan
from hwdiag.experiment.timetable import Effort
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.process.disturbance import Watch
from hwdiag.process.launch import Launch

DECODED = 48
"""Pictures that the decoders are compared with, from all over the set."""
DECODE_SHARE, READ_SHARE, EXTRA_SHARE = 0.03, 0.01, 0.33
"""Shares of the time: comparing decoders, each way of reading, and what comes after the search."""
ENDED = ("timeout", "signal", "out-of-memory")
"""Outcomes of a process that does not come back with an error: there is no use in asking it again."""
OPENED_SHARE = 0.01
"""The same for samples of a person's own Dataset, to see which files it opens."""
GRACE = 0.5
"""Share of their time by which confirmations may exceed it to reach the pairs without which nothing is decided."""
ONE_THREAD = Launch(env=alternatives.LIBRARY_THREADS)


class DataloaderRun:
    """Measures one data set; ``feed()`` gives what was found so far."""

    def __init__(
        self,
        python: str,
        data: Data,
        host: Host,
        budget: FeedBudget,
        *,
        root: Root | None = None,
        batch_size: int = 32,
        batch_sizes: Sequence[int] = (),
        step_s: float | None = None,
        min_effect: float = 0.03,
        timeout_s: float = 30.0,
        seed: int = 1,
        available: AvailableMemory | None = None,
        progress: Progress = lambda text, share: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``timeout_s`` bounds the wait for one batch, and for one look at the folder."""
        self.python, self.host, self.root = python, host, root or Root.live()
        self.batch_sizes, self.min_effect = batch_sizes, min_effect
        self.started_at, self.watch = now(), Watch()
        self.trials = Trials(
            data,
            available or memory.available_memory(host),
            budget,
            batch_size=batch_size,
            step_s=step_s,
            timeout_s=timeout_s,
            seed=seed,
            progress=progress,
            clock=clock,
        )
        self._files_unknown = ""
        self.given_s = 0.0
        """Seconds that answers were given beyond their limits, since others had the CPUs."""
        self.known: dict[str, Any] = {}
        """Parts of the Feed, by field."""

    @property
    def data(self) -> Data:
        """Return the data that is read."""
        return self.trials.data

    @property
    def problem(self) -> str:
        """Return why no loader can be measured; empty where one can."""
        return str(self.known.get("problem", ""))

    def feed(self) -> Feed:
        """Return the study so far."""
        trials = self.trials
        values = {
            "started_at": self.started_at,
            "seconds": trials.clock() - trials.begun,
            "hostname": self.host.label,
            "data": self.data.words,
            "batch_size": trials.batch_size,
            "step_s": trials.step_s,
            "cpus": usable_cpus(self.host),
            "disturbance": self.watch.stop(None),
            "storage": storage.UNKNOWN
            if self.data.file is not None
            else storage.storage_of(self.root, self.host, self.data.folder),
            "dataset": trials.dataset,
            "footprint": trials.footprint,
            "available": trials.available,
            "trials": tuple(trials.done),
            "given_s": self.given_s,
            **self.known,
        }
        return Feed.model_validate(values)

    def all(self) -> Feed:
        """Run every step, in order, and return the study."""
        with Feeder(self.python) as feeder:
            for step in (self.look, self.read, self.decode, self.hold, self.search, self.round_off):
                step(feeder)
            self.given_s += feeder.given_s
        return self.feed()

    def look(self, feeder: Feeder) -> None:
        """List the folder's files, or those that a person's own Dataset opens."""
        trials = self.trials
        trials.say("looking at the data")
        if self.data.file is not None:
            outcome, said = trials.ask(feeder, "opened", seconds=OPENED_SHARE * trials.budget.total_s)
            said.pop("memory", None)
            if outcome.ok:
                trials.found = FolderContent.model_validate(said)
            elif outcome.kind in ENDED:
                self._fail(f"the Dataset gives no sample: {outcome.detail}")
            else:
                self._files_unknown = outcome.detail
            return
        outcome, said = feeder.ask("find", limit_s=trials.timeout_s, folder=self.data.folder)
        if not outcome.ok:
            self._fail(f"{self.data.folder} cannot be looked at: {outcome.detail}")
            return
        found = trials.found = FolderContent.model_validate(said)
        if not found.paths:
            names = f"{found.files} other files" if found.files else "it is empty"
            self._fail(f"there is no JPEG or PNG picture in {self.data.folder}: {names}")

    def read(self, feeder: Feeder) -> None:
        """Measure how fast the files are read, and note what they are stored on."""
        trials, found = self.trials, self.trials.found
        about = storage.storage_of(self.root, self.host, self.data.folder)
        if self.data.file is not None:
            about = storage.UNKNOWN.model_copy(update={"why": found.unknown if found else self._files_unknown})
        if found is not None and found.device:
            about = storage.storage_of(self.root, self.host, found.real, found.device)
            about = about.model_copy(update={"how": found.how, "data_bytes": found.bytes if found.paths else None})
            if found.paths:
                trials.say("reading the files, out of memory where that can be")
                seconds = READ_SHARE * trials.budget.total_s
                limit_s = trials.timeout_s + 4 * seconds
                about = storage.read(feeder, about, found, seconds=seconds, limit_s=limit_s, seed=trials.seed)
        self.known["storage"] = about

    def decode(self, feeder: Feeder) -> None:
        """Compare the decoders that are installed."""
        trials, found = self.trials, self.trials.found
        if self.problem or self.data.file is not None or found is None:
            return
        trials.say("comparing the decoders")
        seconds = DECODE_SHARE * trials.budget.total_s
        paths = found.paths[:: max(1, len(found.paths) // DECODED)]
        limit_s = trials.timeout_s + 4 * seconds
        outcome, said = feeder.ask(
            "compare", limit_s=limit_s, paths=paths, size=self.data.size, seconds=seconds, seed=trials.seed
        )
        said.pop("memory", None)
        if outcome.ok:
            self.known["decoding"] = Decoding.model_validate(said)
        else:
            self._fail(outcome.detail)

    def hold(self, feeder: Feeder) -> None:
        """Measure the memory of the Dataset and of a loader."""
        if self.problem:
            return
        self.trials.say("one batch, and what one worker holds")
        try:
            self.trials.dataset = memory_footprint.dataset(self.trials, feeder)
            self.trials.footprint = memory_footprint.footprint(self.trials, feeder, self.trials.dataset)
        except CannotLoad as error:
            self._fail(str(error))

    def search(self, feeder: Feeder) -> None:
        """Search for the fastest setting, or for the smallest that lets the training never wait."""
        if self.problem:
            return
        trials, run = self.trials, self.trials.runner(feeder)
        if run(DEFAULT, "screen", 0) is None:
            self._fail(trials.done[-1].outcome.detail)
            return
        laboratory = LoaderLaboratory(run, self._refused, trials.seed, trials.clock)
        factors = loader_factors(
            self.host,
            batch_sizes=[n for n in self.batch_sizes if n != trials.batch_size],
            start_methods=trials.start_methods() if trials.budget.race_starts else (),
            cuda=bool(trials.dataset and trials.dataset.cuda),
        )
        seconds = trials.remaining_s - EXTRA_SHARE * trials.budget.total_s
        effort = Effort(seconds, trials.budget.rounds, trials.budget.most_pairs, finalists=1, grace=GRACE)
        found = find_setting(factors, laboratory, effort, self.min_effect)
        decision = found.decision()
        chosen = decision.plan if decision.verdict == "better" else DEFAULT
        self.known |= {
            "plans": found.plans,
            "steps": tuple(found.screening.steps),
            "verdict": decision.verdict,
            "why": decision.why,
            "speedup": decision.speedup,
            "refused": laboratory.why_not,
            "default": trials.chosen(DEFAULT),
            "best": trials.chosen(chosen),
        }

    def _refused(self, plan: Plan) -> str:
        """Return why a plan is not to be tried; empty where it is."""
        return crowded(plan, usable_cpus(self.host)) or self.trials.too_much(setting_of(plan))

    def round_off(self, feeder: Feeder) -> None:
        """Measure kept workers, the validation's loader, and other ways to make a batch."""
        if self.problem:
            return
        best: ChosenSetting = self.known["best"]
        if best.setting.workers:
            best, self.known["restarts"] = epochs.restarts(self.trials, feeder, best)
            self.known["best"] = best
            self.known["validation"] = epochs.validation(self.trials, feeder, best)
        with ExitStack() as stack:
            self._alternatives(feeder, best, stack)
        self.known["broken"] = self._broken()

    def _alternatives(self, feeder: Feeder, best: ChosenSetting, stack: ExitStack) -> None:
        """Compare other ways to make a batch, caches among them, with the chosen setting, interleaved."""
        trials = self.trials
        others = alternatives.of_pictures(self.known.get("decoding"), self.data.size) if self.data.file is None else []
        if best.setting.workers and trials.footprint and trials.footprint.worker_threads > memory_footprint.OWN_THREADS:
            others.append(alternatives.one_thread(stack.enter_context(Feeder(self.python, ONE_THREAD))))
        below = storage.storage_of(self.root, self.host, self.data.cache_folder or tempfile.gettempdir())
        folder = stack.enter_context(caches.folder(self.data.cache_folder, below))
        kept = caches.keep(trials, feeder, folder)
        planned = [] if isinstance(kept, str) else caches.plan(trials, kept, best, self.known["storage"], below)
        if not isinstance(kept, str):
            others += caches.alternatives(planned, kept, best.setting, folder)
        compared = alternatives.decide(
            others,
            alternatives.timer(trials, feeder, best.setting, others),
            self.min_effect,
            end=trials.clock() + trials.remaining_s,
            grace_s=GRACE * trials.remaining_s,
            is_setting_better=self.known["verdict"] == "better",
            seed=trials.seed,
            clock=trials.clock,
        )
        self.known["extras"] = alternatives.extras(others, compared)
        if isinstance(kept, str):
            self.known["caching"] = Caching(why=kept)
            return
        loaders = [c for c in (best, self.known.get("validation")) if c is not None]
        self.known["caching"] = caches.caching_of(
            trials,
            kept,
            planned,
            compared,
            best,
            folder=below.folder,
            workers=sum(c.setting.workers or 0 for c in loaders),
            min_effect=self.min_effect,
        )

    def _fail(self, why: str) -> None:
        self.known.setdefault("problem", why)

    def _broken(self) -> tuple[Broken, ...]:
        """Return the pictures that workers skipped, each once."""
        try:
            with open(self.data.broken or "", encoding="utf-8", errors="replace") as lines:
                pairs = dict(line.rstrip("\n").partition("\t")[::2] for line in lines)
        except OSError:
            pairs = {}
        decoding: Decoding | None = self.known.get("decoding")
        named = {b.path: b.why for b in (decoding.broken if decoding else ())}
        return tuple(Broken(path=path, why=why) for path, why in sorted({**named, **pairs}.items()))
