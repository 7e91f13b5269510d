"""Does the search find what an exhaustive one finds, on this machine? ``python -m benchmarks.dataloader STEP``.

``search`` searches, ``exhaust`` tries every combination of the same options once (stopped after ``--minutes``, it goes
on where it was), ``again`` measures the best of them beside what was found, in shuffled blocks, and prints the table.
What the machine is busy with otherwise makes all of it worthless. The way to start workers is left out: it changes the
start of an epoch, not the batches after it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.exhaustive import combinations
from hwdiag.core.choices import BudgetName
from hwdiag.dataloader.child import Feeder
from hwdiag.dataloader.dataset import Dataset
from hwdiag.dataloader.model import Footprint
from hwdiag.dataloader.run import DataloaderRun
from hwdiag.dataloader.search import START, WORKERS, loader_factors, usable_cpus, with_workers
from hwdiag.dataloader.setting import LoaderSetting, setting_of
from hwdiag.dataloader.steps import Feeding, load
from hwdiag.experiment.lever import BASELINE, DEFAULT, Plan
from hwdiag.experiment.statistics import ratio_interval
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.report.table import Table

FOUND = "found"
BEST = 4
"""Of the exhaustive search, how many are measured again."""
BLOCKS = 24
"""Trials of one setting spread by a tenth, and more."""


def new_run(budget: BudgetName) -> DataloaderRun:
    """As ``hwdiag dataloader`` begins it, on the set of pictures that it makes."""
    return Feeding(load({"budget": budget})).run


def every_plan() -> list[Plan]:
    """Return each number of workers up to twice the CPUs with every combination of the other factors' levers."""
    host = read_host(Root.live())
    others = [factor.levers for factor in loader_factors(host) if factor.name not in (WORKERS, START)]
    counts = [with_workers(n) for n in range(1, 2 * usable_cpus(host) + 1)]
    plans = [p for p in combinations([counts, *others]) if p.lever_of(WORKERS) is not None]
    return [DEFAULT, *(p for p in plans if setting_of(p).makes_sense)]


def search(state: dict[str, Any], record: Path | None) -> None:
    """All that ``hwdiag dataloader`` does, at the budget standard."""
    run = new_run("standard")
    with Feeder(run.python) as feeder:
        for step in (run.look, run.read, run.decode, run.hold):
            step(feeder)
        began, before = time.monotonic(), len(run.trials.done)
        run.search(feeder)
        state.update(search_s=time.monotonic() - began, search_trials=len(run.trials.done) - before)
        run.round_off(feeder)
    feed = run.feed()
    if feed.best is None or feed.dataset is None or feed.footprint is None:
        raise SystemExit(f"nothing was found: {feed.problem}")
    state.update(
        found=feed.best.setting.model_copy(update={"persistent": None}).model_dump(),
        verdict=feed.verdict,
        seconds=feed.seconds,
        dataset=feed.dataset.model_dump(),
        footprint=feed.footprint.model_dump(),
        tried={},
        exhaustive_s=0.0,
    )
    if record is not None:
        record.write_text(feed.model_dump_json(indent=1, exclude_defaults=True) + "\n")


def prepared(state: dict[str, Any], feeder: Feeder, budget: BudgetName) -> DataloaderRun:
    """A run that knows what the search knew."""
    run = new_run(budget)
    run.look(feeder)
    run.trials.dataset = Dataset.model_validate(state["dataset"])
    run.trials.footprint = Footprint.model_validate(state["footprint"])
    return run


def exhaust(state: dict[str, Any], minutes: float) -> None:
    """Each setting once, in an order by chance, in the windows of the budget quick."""
    began, plans = time.monotonic(), every_plan()
    random.Random(1).shuffle(plans)
    with Feeder(sys.executable) as feeder:
        run = prepared(state, feeder, "quick")
        try_one = run.trials.runner(feeder)
        for plan in plans:
            if time.monotonic() - began > 60 * minutes:
                break
            if plan.id not in state["tried"] and not run.trials.too_much(setting_of(plan)):
                state["tried"][plan.id] = try_one(plan, "screen", 0)
    state["exhaustive_s"] += time.monotonic() - began
    print(f"{len(state['tried'])} of {len(plans)} settings", file=sys.stderr)


def again(state: dict[str, Any], minutes: float) -> None:
    """The best of them, what was found and today's default, in shuffled blocks."""
    began, known = time.monotonic(), {plan.id: plan for plan in every_plan()}
    tried = {name: s for name, s in state["tried"].items() if s is not None}
    names = sorted(tried, key=lambda name: float(tried[name]))[:BEST]
    settings = {BASELINE: LoaderSetting(), FOUND: LoaderSetting.model_validate(state["found"])}
    settings |= {name: setting_of(known[name]) for name in names}
    times: dict[str, list[float | None]] = {name: [] for name in settings}
    with Feeder(sys.executable) as feeder:
        try_one = prepared(state, feeder, "standard").trials.timer(feeder)
        for block in range(BLOCKS):
            if time.monotonic() - began > 60 * minutes:
                break
            for name in random.Random(block).sample([*settings], len(settings)):
                times[name].append(try_one(settings[name], name, "confirm", block))
    state.update(again=times, again_s=time.monotonic() - began)


def table(state: dict[str, Any]) -> Table:
    """What came out. The best is named by every other block, and compared in those between, which did not choose it."""
    times = state["again"]
    blocks = [n for n in range(len(times[FOUND])) if all(t[n] is not None for t in times.values())]
    others = [name for name in times if name not in (FOUND, BASELINE)]
    best = min(others, key=lambda name: median(times[name][n] / times[FOUND][n] for n in blocks[::2]))
    behind = ratio_interval([times[FOUND][n] / times[best][n] for n in blocks[1::2]])
    every = state["exhaustive_s"]  # without measuring the best of them again, which an exhaustive search would need too
    share = state["search_s"] / every
    rows = (
        ("found by the search", LoaderSetting.model_validate(state["found"]).describe(), ""),
        ("best of all", best, f"{len(state['tried'])} settings"),
        (
            "time of a sample, found over best",
            f"{behind.median:.3f} ({behind.low:.3f} to {behind.high:.3f})",
            "yes" if behind.median <= 1.05 else "NO (target: at most 1.05)",
        ),
        (
            "time of the search, of the exhaustive one",
            f"{state['search_s']:.0f} s of {every:.0f} s, {share:.0%}",
            "yes" if share <= 1 / 3 else "NO (target: at most a third)",
        ),
        (
            "the whole run at the budget standard",
            f"{state['seconds']:.0f} s",
            "yes" if state["seconds"] < 180 else "NO (target: under 180 s)",
        ),
    )
    return Table("The search for a DataLoader's setting beside an exhaustive one", ("What", "Measured", ""), rows)


def main() -> None:
    """One step."""
    words = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    words.add_argument("step", choices=("search", "exhaust", "again"))
    words.add_argument("--state", type=Path, required=True, help="file that keeps what was measured from step to step")
    words.add_argument("--record", type=Path, help="file for all that the run of the search found")
    words.add_argument("--minutes", type=float, default=5.0, help="most of this step")
    given = words.parse_args()
    state = json.loads(given.state.read_text()) if given.state.exists() else {}
    if given.step == "search":
        search(state, given.record)
    elif given.step == "exhaust":
        exhaust(state, given.minutes)
    else:
        again(state, given.minutes)
        print(table(state).to_text())
    given.state.write_text(json.dumps(state))


if __name__ == "__main__":
    main()
