"""Trials of one data set in a child, within the memory that may be used, each trial kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from hwdiag.dataloader import memory
from hwdiag.dataloader.budget import Data, FeedBudget
from hwdiag.dataloader.child import Feeder
from hwdiag.dataloader.dataset import Dataset, FolderContent
from hwdiag.dataloader.model import AvailableMemory, ChosenSetting, Footprint, LoaderTrial
from hwdiag.dataloader.search import NO_WAIT, Try
from hwdiag.dataloader.setting import LoaderSetting, setting_of
from hwdiag.experiment.lever import DEFAULT, Plan
from hwdiag.experiment.model import Phase
from hwdiag.process.model import Outcome

Progress = Callable[[str, float], None]


class CannotLoad(Exception):
    """No DataLoader can be measured; the text says why."""


class Trials:
    """Asks about one data set. What the steps find out that later ones need is filled in by them."""

    def __init__(
        self,
        data: Data,
        available: AvailableMemory,
        budget: FeedBudget,
        *,
        batch_size: int = 32,
        step_s: float | None = None,
        timeout_s: float = 30.0,
        seed: int = 1,
        progress: Progress = lambda text, share: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``timeout_s`` bounds the wait for one batch, and for one look at the folder."""
        self.data, self.available, self.budget = data, available, budget
        self.batch_size, self.step_s, self.timeout_s, self.seed = batch_size, step_s, timeout_s, seed
        self.progress, self.clock, self.begun = progress, clock, clock()
        self.done: list[LoaderTrial] = []
        self.found: FolderContent | None = None
        self.dataset: Dataset | None = None
        self.footprint: Footprint | None = None
        self.few: list[int] | None = None
        """Samples that the rivals of the setting are measured with; None for all."""

    @property
    def remaining_s(self) -> float:
        """Return the seconds that are left of the budget."""
        return self.budget.total_s - (self.clock() - self.begun)

    def say(self, text: str) -> None:
        """Tell what is being done."""
        self.progress(text, min(1.0, max(0.0, 1 - self.remaining_s / self.budget.total_s)))

    def task(self) -> dict[str, Any]:
        """Return the data from which the child builds the Dataset."""
        if self.data.file is not None:
            return {"file": self.data.file}
        paths = self.found.paths if self.found else ()
        return {"paths": paths, "size": self.data.size, "broken": self.data.broken}

    def ask(
        self, feeder: Feeder, do: str, *, data: Any = None, setting: LoaderSetting | None = None, **task: Any
    ) -> tuple[Outcome, dict[str, Any]]:
        """Ask for something that runs in a process of its own, which may take no more than there is."""
        if setting is not None:
            size = setting.batch_size or self.batch_size
            places = [list(cpus) for cpus in setting.places]  # numbers: a record has them as "0-3"
            task["setting"] = {**setting.model_dump(), "batch_size": size, "places": places}
        return feeder.ask(
            do,
            limit_s=2 * self.timeout_s,
            data={**self.task(), **(data or {})},
            seed=self.seed,
            timeout_s=self.timeout_s,
            limit_bytes=self.available.memory_bytes,
            **task,
        )

    def runner(self, feeder: Feeder, **more: Any) -> Try:
        """Return what runs a plan once, and gives seconds a sample; None where it failed."""
        timed = self.timer(feeder, **more)
        return lambda plan, phase, block: timed(setting_of(plan), plan.title, phase, block)

    def timer(self, feeder: Feeder, **more: Any) -> Callable[[LoaderSetting, str, Phase, int], float | None]:
        """Return what runs a setting once under a name, and gives seconds a sample; None where it failed."""

        def run(setting: LoaderSetting, name: str, phase: Phase, block: int) -> float | None:
            self.say(f"{phase}: {name}")
            outcome, said = self.ask(
                feeder,
                "trial",
                setting=setting,
                seconds=self.budget.window_s,
                warmup_s=self.budget.warmup_s,
                step_s=self.step_s,
                cuda=bool(self.dataset and self.dataset.cuda),
                **more,
            )
            held = said.pop("memory", {}).get("held")
            self.done.append(
                LoaderTrial(name=name, phase=phase, block=block, outcome=outcome, memory_bytes=held, **said)
            )
            if not outcome.ok:
                return None
            is_fed = self.step_s is not None and said["waiting"] < NO_WAIT
            return float((is_fed and self.step_s) or said["batch_s"]) / (setting.batch_size or self.batch_size)

        return run

    def start_methods(self) -> tuple[str, ...]:
        """Return start methods other than the usual one, where the Dataset can be sent to them."""
        able = self.budget.start_methods and self.dataset and not self.dataset.unpicklable
        return ("forkserver", "spawn") if able else ()

    def too_much(self, setting: LoaderSetting) -> str:
        """Return why a setting would not fit; empty where it does."""
        assert self.footprint is not None
        size = setting.batch_size or self.batch_size
        return memory.too_much(memory.predict(self.footprint, setting, size), self.available)

    def chosen(self, plan: Plan = DEFAULT) -> ChosenSetting | None:
        """Return a plan's setting with the medians of its trials; of the confirmation, if it was confirmed."""
        assert self.footprint is not None
        ok = [t for t in self.done if t.name == plan.title and t.outcome.ok]
        last = [t for t in ok if t.phase == "confirm"] or ok
        if not last:
            return None
        setting = setting_of(plan)
        size = setting.batch_size or self.batch_size
        return ChosenSetting(
            plan=plan,
            setting=setting,
            batch_size=size,
            samples_s=size / median(t.batch_s or 0.0 for t in last),
            waiting=median(t.waiting or 0.0 for t in last),
            first_s=median(t.first_s or 0.0 for t in last),
            prediction=memory.predict(self.footprint, setting, size),
        )
