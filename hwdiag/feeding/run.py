"""One run, step by step: the data, its storage, its decoders, what a loader holds, the search, and what goes with it.

Each step needs the one before it; one that fails leaves its reason, and the steps that don't need it go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Literal

from hwdiag.feeding import memory, storage
from hwdiag.feeding.child import Feeder
from hwdiag.feeding.model import (
    Broken,
    Chosen,
    Dataset,
    Decoding,
    Extra,
    Feed,
    Footprint,
    Found,
    Prediction,
    Room,
    Setting,
    Trial,
)
from hwdiag.feeding.search import DEFAULT, NO_WAIT, Races, Try, questions, usable_cpus, with_workers
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.measure.disturbance import Watch
from hwdiag.measure.model import Phase
from hwdiag.measure.search import find_best
from hwdiag.measure.stats import faster_p, judge, median_interval
from hwdiag.model import Value
from hwdiag.words import now

Progress = Callable[[str, float], None]

DECODED = 48
"""Pictures that the decoders are compared with, from all over the set."""
DECODE_SHARE, READ_SHARE, EXTRA_SHARE = 0.06, 0.012, 0.3
"""Shares of the time: comparing decoders, each way of reading, and what comes after the search."""
LEAK_SHARE = 0.02
"""A worker that holds this much more after each pause, of what it holds, keeps growing."""
NEAR_BEST = 0.9
"""The validation loader takes the fewest workers that give this share of the best among its own."""
MOST_EPOCH_BATCHES = 64


class FeedBudget(Value):
    """How long to measure."""

    total_s: float
    window_s: float
    warmup_s: float
    rounds: int
    most_pairs: int
    start_methods: bool


BUDGETS: dict[Literal["quick", "standard", "thorough"], FeedBudget] = {
    "quick": FeedBudget(total_s=50, window_s=0.4, warmup_s=0.1, rounds=1, most_pairs=8, start_methods=False),
    "standard": FeedBudget(total_s=160, window_s=0.7, warmup_s=0.2, rounds=3, most_pairs=12, start_methods=True),
    "thorough": FeedBudget(total_s=900, window_s=2.0, warmup_s=0.5, rounds=6, most_pairs=30, start_methods=True),
}


@dataclass(frozen=True)
class Data:
    """What is read: pictures of a folder, or a Python file with ``build_dataset()``."""

    words: str
    folder: str
    """Where the data lies; of a file, the file's own folder."""
    file: str | None = None
    size: int = 224
    broken: str | None = None
    """File that workers write the names of broken pictures to."""


class Run:
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
        room: Room | None = None,
        progress: Progress = lambda text, share: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``timeout_s`` bounds the wait for one batch, and for one look at the folder."""
        self.data, self.host, self.budget, self.root = data, host, budget, root or Root.live()
        self.python, self.progress = python, progress
        self.batch_size, self.batch_sizes, self.step_s, self.seed = batch_size, batch_sizes, step_s, seed
        self.min_effect, self.timeout_s = min_effect, timeout_s
        self.started_at, self.clock = now(), clock
        self.begun, self.watch = clock(), Watch()
        self.room = room or memory.room_of(host)
        self.found: Found | None = None
        self.trials: list[Trial] = []
        self.known: dict[str, Any] = {}
        """Parts of the Feed, by field."""

    @property
    def remaining_s(self) -> float:
        """Seconds of the budget that are left."""
        return self.budget.total_s - (self.clock() - self.begun)

    def feed(self) -> Feed:
        """All that was found so far."""
        values = {
            "started_at": self.started_at,
            "seconds": self.clock() - self.begun,
            "hostname": self.host.label,
            "data": self.data.words,
            "batch_size": self.batch_size,
            "step_s": self.step_s,
            "cpus": usable_cpus(self.host),
            "disturbance": self.watch.stop(None),
            "storage": storage.storage_of(self.root, self.host, self.data.folder),
            "room": self.room,
            "trials": tuple(self.trials),
            **self.known,
        }
        return Feed.model_validate(values)

    def all(self) -> Feed:
        """Every step, in order."""
        with Feeder(self.python) as feeder:
            self.look(feeder)
            self.read(feeder)
            self.decode(feeder)
            self.hold(feeder)
            self.search(feeder)
            self.round_off(feeder)
        return self.feed()

    def look(self, feeder: Feeder) -> None:
        """What does the folder hold?"""
        self._say("looking at the data")
        outcome, said = feeder.ask("find", limit_s=self.timeout_s, folder=self.data.folder)
        if not outcome.ok:
            self._fail(f"{self.data.folder} cannot be looked at: {outcome.detail}")
            return
        self.found = Found.model_validate(said)
        if self.data.file is None and not self.found.paths:
            names = f"{self.found.files} other files" if self.found.files else "it is empty"
            self._fail(f"there is no JPEG or PNG picture in {self.data.folder}: {names}")

    def read(self, feeder: Feeder) -> None:
        """What is it stored on, and how fast is it read?"""
        about = storage.storage_of(self.root, self.host, self.data.folder)
        if self.found is not None:
            about = storage.storage_of(self.root, self.host, self.found.real, self.found.device)
            if self.found.paths:
                self._say("reading the files, out of memory where that can be")
                seconds = READ_SHARE * self.budget.total_s
                about = storage.read(
                    feeder, about, self.found, seconds=seconds, limit_s=self.timeout_s + 4 * seconds, seed=self.seed
                )
        self.known["storage"] = about

    def decode(self, feeder: Feeder) -> None:
        """Which decoders are there, and what do they give?"""
        if self.problem or self.data.file is not None or self.found is None:
            return
        self._say("comparing the decoders")
        seconds = DECODE_SHARE * self.budget.total_s
        paths = self.found.paths[:: max(1, len(self.found.paths) // DECODED)]
        limit_s = self.timeout_s + 4 * seconds
        outcome, said = feeder.ask(
            "compare", limit_s=limit_s, paths=paths, size=self.data.size, seconds=seconds, seed=self.seed
        )
        said.pop("memory", None)
        if outcome.ok:
            self.known["decoding"] = Decoding.model_validate(said)
        else:
            self._fail(outcome.detail)

    def hold(self, feeder: Feeder) -> None:
        """What does the Dataset give, and what does a loader hold?"""
        if self.problem:
            return
        self._say("one batch, and what one worker holds")
        outcome, said = self._apart(feeder, "look", batch_size=self.batch_size)
        if not outcome.ok:
            self._fail(outcome.detail)
            return
        said.pop("memory")
        dataset = self.known["dataset"] = Dataset.model_validate(said)
        held: dict[str, int] = {}
        for method in ("", *self._start_methods()):
            setting = Setting.model_validate(
                {"name": "1 worker", "workers": 1, "batch_size": self.batch_size, "start_method": method or None}
            )
            one = Prediction(
                process_bytes=0, shared_bytes=3 * dataset.batch_bytes, files=memory.FILES + 3 * dataset.tensors
            )
            if why := memory.too_much(one, self.room):
                self._fail(f"not even one worker fits: {why}")
                return
            outcome, said = self._apart(feeder, "fill", setting=setting, seconds=2.0, memory=True)
            if not outcome.ok and not method:
                self._fail(outcome.detail)
                return
            if not outcome.ok:
                continue
            peaks = said["memory"]
            held[method] = max(0, peaks["workers"] - dataset.batch_bytes)
            if not method:
                main, growth = peaks["apart"] - peaks["workers"], growth_of(said)
        self.known["footprint"] = Footprint(
            batch_size=self.batch_size,
            main_bytes=main,
            worker_bytes=held,
            batch_bytes=dataset.batch_bytes,
            tensors=dataset.tensors,
            growth_bytes=growth,
        )

    def search(self, feeder: Feeder) -> None:
        """Which setting is the fastest, or the smallest that lets the training never wait?"""
        if self.problem:
            return
        if self._try(feeder)(DEFAULT, "screen", 0) is None:
            self._fail(self.trials[-1].outcome.detail)
            return
        races = Races(self._try(feeder), self._too_much, self.seed)
        asked = questions(
            self.host,
            batch_sizes=[n for n in self.batch_sizes if n != self.batch_size],
            start_methods=self._start_methods(),
            cuda=bool(self.known["dataset"].cuda),
        )
        decision = find_best(
            asked,
            races.measure,
            budget_s=self.remaining_s - EXTRA_SHARE * self.budget.total_s,
            min_effect=self.min_effect,
            rounds=self.budget.rounds,
            most_pairs=self.budget.most_pairs,
            default=DEFAULT,
            clock=self.clock,
        )
        chosen = decision.launch if decision.verdict == "better" else DEFAULT
        self.known |= {
            "steps": decision.steps,
            "verdict": decision.verdict,
            "why": decision.why,
            "speedup": decision.speedup,
            "refused": races.why_not,
            "default": self._chosen(DEFAULT),
            "best": self._chosen(chosen),
        }

    def round_off(self, feeder: Feeder) -> None:
        """Are workers worth keeping, what does the validation need, and what else would help?"""
        if self.problem:
            return
        best: Chosen = self.known["best"]
        if best.setting.workers:
            self._restarts(feeder, best)
            self._validation(feeder, self.known["best"])
        if self.data.file is None:
            self._extras(feeder, self.known["best"])
        self.known["broken"] = self._broken()

    @property
    def problem(self) -> str:
        """Why no loader can be measured."""
        return str(self.known.get("problem", ""))

    def _fail(self, why: str) -> None:
        self.known.setdefault("problem", why)

    def _say(self, text: str) -> None:
        self.progress(text, min(1.0, max(0.0, 1 - self.remaining_s / self.budget.total_s)))

    def _task(self) -> dict[str, Any]:
        """What the child builds the Dataset from."""
        if self.data.file is not None:
            return {"file": self.data.file}
        paths = self.found.paths if self.found else ()
        return {"paths": paths, "size": self.data.size, "broken": self.data.broken}

    def _apart(self, feeder: Feeder, do: str, *, data: Any = None, setting: Setting | None = None, **task: Any) -> Any:
        """Ask the child for something that runs in a process of its own, which may take no more than there is."""
        if setting is not None:
            size = setting.batch_size or self.batch_size
            task["setting"] = {**setting.model_dump(exclude={"name"}), "batch_size": size}
        return feeder.ask(
            do,
            limit_s=2 * self.timeout_s,
            data={**self._task(), **(data or {})},
            seed=self.seed,
            timeout_s=self.timeout_s,
            limit_bytes=self.room.memory_bytes,
            **task,
        )

    def _try(self, feeder: Feeder, **more: Any) -> Try:
        def run(setting: Setting, phase: Phase, block: int) -> float | None:
            self._say(f"{phase}: {setting.name}")
            outcome, said = self._apart(
                feeder,
                "trial",
                setting=setting,
                seconds=self.budget.window_s,
                warmup_s=self.budget.warmup_s,
                step_s=self.step_s,
                cuda=bool(self.known["dataset"].cuda),
                **more,
            )
            held = said.pop("memory", {}).get("held")
            self.trials.append(
                Trial(setting=setting.name, phase=phase, block=block, outcome=outcome, held_bytes=held, **said)
            )
            if not outcome.ok:
                return None
            is_fed = self.step_s is not None and said["waiting"] < NO_WAIT
            return float((is_fed and self.step_s) or said["batch_s"]) / (setting.batch_size or self.batch_size)

        return run

    def _start_methods(self) -> tuple[str, ...]:
        """Others than the usual one, where the Dataset can be sent to them."""
        dataset: Dataset | None = self.known.get("dataset")
        return ("forkserver", "spawn") if self.budget.start_methods and dataset and not dataset.unpicklable else ()

    def _too_much(self, setting: Setting) -> str:
        if not setting.makes_sense:
            return "without workers it has no meaning"
        footprint: Footprint = self.known["footprint"]
        return memory.too_much(memory.predict(footprint, setting, setting.batch_size or self.batch_size), self.room)

    def _chosen(self, setting: Setting) -> Chosen | None:
        """A setting with the medians of its trials; of the confirmation, if it was confirmed."""
        ok = [t for t in self.trials if t.setting == setting.name and t.outcome.ok]
        last = [t for t in ok if t.phase == "confirm"] or ok
        if not last:
            return None
        size = setting.batch_size or self.batch_size
        return Chosen(
            setting=setting,
            batch_size=size,
            samples_s=size / median(t.batch_s or 0.0 for t in last),
            waiting=median(t.waiting or 0.0 for t in last),
            first_s=median(t.first_s or 0.0 for t in last),
            prediction=memory.predict(self.known["footprint"], setting, size),
        )

    def _restarts(self, feeder: Feeder, best: Chosen) -> None:
        """Time the second epoch's first batch with workers kept and started afresh, and keep what is faster."""
        found = {}
        for keep in (False, True):
            self._say("starting epochs, " + ("workers kept" if keep else "workers started afresh"))
            setting = best.setting.model_copy(update={"persistent": keep})
            outcome, said = self._apart(feeder, "epochs", setting=setting, batches=MOST_EPOCH_BATCHES)
            name = "kept" if keep else "afresh"
            self.trials.append(Trial(setting=f"workers {name}", phase="epochs", block=0, outcome=outcome))
            if outcome.ok:
                found[name] = said["restart_s"]
        if len(found) == 2:
            keep = found["kept"] < found["afresh"]
            setting = best.setting.model_copy(update={"persistent": True} if keep else {})
            restart_s = found["kept" if keep else "afresh"]
            self.known["best"] = best.model_copy(update={"setting": setting, "restart_s": restart_s})
        self.known["restarts"] = found

    def _validation(self, feeder: Feeder, best: Chosen) -> None:
        """The fewest workers, at most half of the training's, that give most of what so many can."""
        most = max(1, (best.setting.workers or 1) // 2)
        counts = sorted({max(1, most // 4), max(1, most // 2), most})
        run = self._try(feeder, validation=True)
        settings = [with_workers(n).model_copy(update={"name": f"validation, {n}"}) for n in counts]
        for block in range(2):
            for setting in settings:
                run(setting, "screen", block)
        found = [c for c in map(self._chosen, settings) if c is not None]
        enough = NEAR_BEST * max((c.samples_s for c in found), default=0.0)
        self.known["validation"] = next((c for c in found if c.samples_s >= enough), None)

    def _extras(self, feeder: Feeder, best: Chosen) -> None:
        """What another way to make numbers of a picture would give, with the setting that was found."""
        plans = extra_plans(self.known.get("decoding"), self.data.size)
        runs = {name: self._try(feeder, data=data) for name, (data, _, _) in plans.items()}
        plain = self._try(feeder)
        ratios: dict[str, list[float]] = {name: [] for name in plans}
        for block in range(self.budget.most_pairs):
            started = self.clock()
            if self.remaining_s <= 0:
                break
            today = plain(best.setting.model_copy(update={"name": "as found"}), "confirm", block)
            for name, run in runs.items():
                other = run(best.setting.model_copy(update={"name": name}), "confirm", block)
                if today is not None and other is not None:
                    ratios[name].append(today / other)
            if self.remaining_s < self.clock() - started:
                break
        extras = []
        for name, (_, what, changes) in plans.items():
            if ratios[name]:
                speedup = median_interval(ratios[name])
                verdict, _ = judge(speedup, faster_p(ratios[name]), self.min_effect)
                extras.append(Extra(name=name, what=what, speedup=speedup, verdict=verdict, changes=changes))
        self.known["extras"] = tuple(extras)

    def _broken(self) -> tuple[Broken, ...]:
        """Pictures that workers skipped, each once."""
        try:
            with open(self.data.broken or "", encoding="utf-8", errors="replace") as lines:
                pairs = dict(line.rstrip("\n").partition("\t")[::2] for line in lines)
        except OSError:
            pairs = {}
        decoding: Decoding | None = self.known.get("decoding")
        named = {b.path: b.why for b in (decoding.broken if decoding else ())}
        return tuple(Broken(path=path, why=why) for path, why in sorted({**named, **pairs}.items()))


def extra_plans(decoding: Decoding | None, size: int) -> dict[str, tuple[dict[str, Any], str, str]]:
    """Other ways to make numbers of a picture: what the child is told, what it is, and what it changes."""
    plans: dict[str, tuple[dict[str, Any], str, str]] = {
        "uint8": (
            {"dtype": "uint8"},
            "send uint8, normalise on the GPU",
            "nothing, if the GPU does the same arithmetic",
        )
    }
    if decoding is None or decoding.kind != "jpeg":
        return plans
    able = [d for d in decoding.decoders if d.seconds is not None]
    first = next((d for d in able if not d.reduced), None)
    small = next((d for d in able if d.reduced and first and d.key == first.key), None)
    if small is not None:
        off = f"by {small.difference:.1f} of 255 in the mean" if small.difference is not None else "slightly"
        plans["reduced"] = (
            {"reduced": True},
            f"decode at a reduced size (Pillow: draft('RGB', ({size}, {size})) before load)",
            f"the pixels differ {off}",
        )
    fastest = min((d for d in able if not d.reduced), key=lambda d: d.seconds or 0.0, default=None)
    if fastest is not None and first is not None and fastest.key != first.key:
        off = "unknown" if fastest.difference is None else f"by {fastest.difference:.1f} of 255 in the mean"
        plans[fastest.key] = ({"decoder": fastest.key}, f"decode with {fastest.name}", f"the pixels differ {off}")
    return plans


def growth_of(said: dict[str, Any]) -> int:
    """Bytes by which a worker grows with each batch; 0 unless it grew from each pause to the next."""
    held = said["held_at_rest"]
    steps = [after - before for before, after in pairwise(held[1:])]
    if not steps or min(steps) < max(LEAK_SHARE * held[-1], 1 << 20):
        return 0
    return int(min(steps) / said["batches_between"])
