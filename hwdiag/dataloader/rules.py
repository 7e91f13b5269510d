"""Rules for faster data: the rollout plan, in order of measured gain."""

from __future__ import annotations

from collections.abc import Iterator

from hwdiag.core.text import gib, plural
from hwdiag.dataloader import cache_rules
from hwdiag.dataloader.alternatives import ONE_THREAD
from hwdiag.dataloader.memory import LEAK_BATCHES
from hwdiag.dataloader.model import Feed
from hwdiag.dataloader.plan import RATE, PlanStep
from hwdiag.dataloader.search import NO_WAIT, WORKERS
from hwdiag.dataloader.storage import is_remote
from hwdiag.experiment.lever import DEFAULT, Plan

RESIZE_HEAVY = 1.0
"""Pillow's resize takes longer than decoding: only then is Pillow-SIMD, which speeds up the resize, worth a look."""
NEAR = 0.8
"""Share of a limit that is worth raising it for."""
DISK_WORDS = "hwdiag audit --knob io.scheduler --knob io.read_ahead says how the disk is set, and what that does"
BUSY = 0.5
"""Load a CPU, by others, from which on rates are not those of an idle machine."""


def plan(feed: Feed) -> list[PlanStep]:
    """Return all steps, the largest measured gain first, then those whose gain was not measured."""
    if feed.problem or feed.best is None:
        return []
    found = [
        *setting_steps(feed),
        *keeping(feed),
        *cache_rules.step(feed),
        *picture_steps(feed),
        *dataset_steps(feed),
        *host_steps(feed),
        *validation_step(feed),
    ]
    return sorted(found, key=lambda step: -(step.gain or 0.0))


def setting_steps(feed: Feed) -> Iterator[PlanStep]:
    """Yield the levers that the search took on; each gain is over today's default with those before it, as the
    screening saw it."""
    if feed.verdict != "better" or feed.best is None:
        return
    before, held = 1.0, Plan.of()
    s = feed.speedup
    afresh = f"; all of the setting, measured again: {s.median:.2f}x ({s.low:.2f} to {s.high:.2f})" if s else ""
    for lever in feed.best.plan.levers:
        held = held.plus(lever)
        seen = screened(feed, held)
        gain = None if seen is None else seen / before
        before = before if seen is None else seen
        is_crowded = lever.factor == WORKERS and (feed.best.setting.workers or 0) > feed.cpus
        warned = "; torch warns of more workers than CPUs, which were measured to be faster here" if is_crowded else ""
        told = "not measured by itself" if gain is None else f"{gain:.2f}x in the screening"
        yield PlanStep(
            title=f"DataLoader: {lever.title}",
            gain=gain,
            gain_text=f"{told}{afresh}",
            do=f"take {lever.title} over from dataloader.py ({lever.factor})",
            check=f"{RATE}{warned}",
            undo="put the argument back as it was; nothing else is changed",
        )


def screened(feed: Feed, plan: Plan) -> float | None:
    """Return the speed-up over today's default that the screening last saw of a plan; None where it saw none."""
    seen = [o.speedup.median for step in feed.steps for o in step.options if o.plan == plan.id]
    return seen[-1] if seen else None


def keeping(feed: Feed) -> Iterator[PlanStep]:
    """Yield the step that keeps workers between epochs."""
    kept, afresh = feed.restarts.get("kept"), feed.restarts.get("afresh")
    if feed.best is None or not feed.best.setting.persistent or kept is None or afresh is None:
        return
    yield PlanStep(
        title="DataLoader: persistent_workers=True",
        gain_text=f"{afresh - kept:.2f} s less at the start of each epoch ({kept:.2f} s for {afresh:.2f} s)",
        do="take persistent_workers over from dataloader.py, if the training has more than one epoch",
        check="the pause between two epochs is shorter; memory between epochs stays taken",
        undo="leave the argument out",
    )


def picture_steps(feed: Feed) -> Iterator[PlanStep]:
    """Yield the other ways to make a batch that were shown to gain."""
    for extra in feed.extras:
        if extra.verdict == "better" and extra.name == ONE_THREAD:
            yield PlanStep(
                title="One thread for each library that a worker calls",
                gain=extra.speedup.median,
                gain_text=f"{extra.speedup.median:.2f}x ({extra.speedup.low:.2f} to {extra.speedup.high:.2f})",
                do=extra.what,
                check=f"{RATE}. What it changes: {extra.changes}",
                undo="start the training without these variables",
            )
        elif extra.verdict == "better":
            yield PlanStep(
                title=f"Pictures: {extra.what}",
                gain=extra.speedup.median,
                gain_text=f"{extra.speedup.median:.2f}x ({extra.speedup.low:.2f} to {extra.speedup.high:.2f}), in "
                f"{extra.speedup.processes} pairs with the setting above",
                do=f"in the Dataset: {extra.what}",
                check=f"{RATE}. What it changes: {extra.changes}; train a few epochs and compare the accuracy",
                undo="take the line out of the Dataset",
            )


def dataset_steps(feed: Feed) -> Iterator[PlanStep]:
    """Yield the steps that mend the Dataset itself."""
    held, data = feed.footprint, feed.dataset
    if data is not None and data.doubled:
        yield PlanStep(
            title="Give each worker its own share of the IterableDataset",
            gain_text="not measured: with more than one worker each sample comes once from each of them",
            do="in __iter__, take every num_workers-th sample from torch.utils.data.get_worker_info() on",
            check="the samples of one epoch are as many as without workers",
            undo="num_workers of at most 1",
        )
    if held is not None and held.growth_bytes:
        yield PlanStep(
            title=f"Find out why a worker grows by {held.growth_bytes / 2**20:.1f} MiB with each batch",
            gain_text=f"not measured: after {LEAK_BATCHES} batches {gib(held.growth_bytes * LEAK_BATCHES)} a worker",
            do="look for lists and dictionaries that the Dataset adds to; a cache needs a limit",
            check="hwdiag dataloader no longer says that a worker grows",
            undo="nothing to undo",
        )


def host_steps(feed: Feed) -> Iterator[PlanStep]:
    """Yield the steps on storage, limits and settings of the host that stand in the way, with what was seen of them."""
    store, best = feed.storage, feed.best
    assert best is not None
    if is_remote(store.kind):
        yield PlanStep(
            title=f"Copy what is read often from {store.kind} to a local disk",
            gain_text="not measured: there is no copy to compare with",
            do=f"rsync -a {store.folder}/ to a folder on a local disk, and read from there",
            check="hwdiag dataloader --data on the copy",
            undo="read from the old folder again",
        )
    cold = store.reading
    if cold is not None and cold.cold and feed.decoding is not None:
        needed = best.samples_s * feed.decoding.mean_bytes
        if cold.any_order.bytes_s < needed:
            yield PlanStep(
                title="The first epoch waits for the disk",
                gain_text=f"not measured: one reader got {cold.any_order.bytes_s / 1e6:.0f} MB/s in any order, and "
                f"this loader takes {needed / 1e6:.0f} MB/s",
                do=f"keep the data ({gib(feed.decoding.mean_bytes * ((feed.dataset and feed.dataset.length) or 0))}) "
                f"in the page cache, store pictures smaller, or as few large files; {DISK_WORDS}",
                check="the second epoch is no faster than the first",
                undo="nothing to undo; scripts/system_optimize.sh undo",
                knobs=("io.scheduler", "io.read_ahead") if store.disk else (),
            )
    shared = [why for why in feed.refused.values() if "/dev/shm" in why]
    if shared or (feed.available.shared_bytes and best.prediction.shared_bytes > NEAR * feed.available.shared_bytes):
        yield PlanStep(
            title="Make /dev/shm larger",
            gain_text=f"not measured: {plural(len(shared), 'setting')} could not be tried for lack of it",
            do="in Docker --shm-size=8g or --ipc=host; elsewhere mount -o remount,size=8g /dev/shm",
            check="df -h /dev/shm, then hwdiag dataloader again",
            undo="start the container without it; remount with the old size",
        )
    files = [why for why in feed.refused.values() if "open files" in why]
    if files or (feed.available.files and best.prediction.files > NEAR * feed.available.files):
        yield PlanStep(
            title="Allow more open files",
            gain_text=f"not measured: {plural(len(files), 'setting')} could not be tried for lack of them",
            do="hwdiag audit --knob limits.nofile, or ulimit -n 65536 in the shell that trains",
            check="ulimit -n; no 'Too many open files'",
            undo="scripts/system_optimize.sh undo, or a new shell",
            knobs=("limits.nofile",),
        )


def validation_step(feed: Feed) -> Iterator[PlanStep]:
    """Yield the step for the validation's own loader."""
    if feed.validation is None or feed.best is None:
        return
    share = feed.validation.samples_s / feed.best.samples_s
    yield PlanStep(
        title=f"Validation: a loader of its own with {feed.validation.setting.describe()}",
        gain_text=f"{feed.validation.samples_s:.0f} samples/s, {share:.0%} of the training's; it leaves the "
        "training's workers their memory",
        do="take the second DataLoader over from dataloader.py",
        check="the validation takes no longer than before; all samples are in it (drop_last stays False)",
        undo="use the loader that it had",
    )


def busy(feed: Feed) -> str:
    """Return a sentence where others kept the machine busy when the run began, or later; empty where not."""
    load = feed.disturbance.load
    longer = "" if feed.given_s < 1 else f" Answers were given {feed.given_s:.0f} s more than their limits for it."
    if (load is None or load <= BUSY * feed.cpus) and not longer:
        return ""
    cpus = plural(feed.cpus, "CPU")
    told = "" if load is None else f" (load {load:.1f} on {cpus})"
    return f"The machine was busy with other things{told}: measure again when it is idle.{longer}"


def kept_word(feed: Feed) -> str:
    """Return why the default stays, by how much was compared with it."""
    others = [t for t in feed.trials if t.outcome.ok and t.name != DEFAULT.title]
    if not others:
        return "was compared with no other setting"
    if feed.verdict == "same":
        return "is as good as anything tried"
    return "stays for now, undecided" if feed.verdict == "undecided" else "stays: what looked better was not"


def verdict(feed: Feed) -> str:
    """Return one sentence on what to set, and what it gives."""
    if feed.problem or feed.best is None:
        return f"No DataLoader could be measured: {feed.problem or 'there was no time'}."
    best = feed.best
    rate = f"{best.samples_s:.0f} samples/s in batches of {best.batch_size}"
    if feed.verdict == "better" and feed.speedup is not None:
        s = feed.speedup
        said = (
            f"Set {best.setting.describe()}: {rate}, {s.median:.2f}x ({s.low:.2f} to {s.high:.2f}) of what torch's "
            "default gives."
        )
    else:
        said = f"torch's default, no workers, {kept_word(feed)}: {rate}; {feed.why}."
    if feed.step_s:
        waits = best.waiting or 0.0
        is_fed = "never waits" if waits < NO_WAIT else f"is input-bound: it waits {waits:.0%} of the time"
        said += f" At {1e3 * feed.step_s:.0f} ms a step the training {is_fed}."
    return f"{said} {busy(feed)}".rstrip()
