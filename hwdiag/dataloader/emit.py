"""dataloader.yaml for a configuration, and dataloader.py to copy from: the setting that was measured, as arguments."""

from __future__ import annotations

from typing import Any

import yaml

from hwdiag import __version__
from hwdiag.core.files import File
from hwdiag.core.jinja import one_line, templates
from hwdiag.dataloader import cache_rules
from hwdiag.dataloader.alternatives import LIBRARY_THREADS, ONE_THREAD
from hwdiag.dataloader.caches import LMDB_READERS
from hwdiag.dataloader.model import ChosenSetting, Feed
from hwdiag.dataloader.plan import PlanStep
from hwdiag.dataloader.rules import verdict
from hwdiag.process.agent import MAIN

CACHE = MAIN.with_name("dataloader") / "sample_cache.py"
"""Handed out as it is: what was measured is what is used."""


def feeding_files(feed: Feed, steps: list[PlanStep]) -> list[File]:
    """Return all files of a run; none where no loader was measured."""
    if feed.best is None:
        return []
    found = [
        File(path="dataloader.yaml", text=as_yaml(feed, steps), what="The DataLoader's setting, for a configuration"),
        File(path="dataloader.py", text=snippet(feed), what="The same as code to copy from"),
        File(path="rollout.md", text=rollout(feed, steps), what="What to do, in order of measured gain"),
    ]
    if cache_rules.chosen(feed) is not None:
        found.append(File(path=CACHE.name, text=CACHE.read_text(), what="The cache that dataloader.py uses"))
    return found


def as_yaml(feed: Feed, steps: list[PlanStep]) -> str:
    """Return the settings as YAML, with the gains that were measured."""
    assert feed.best is not None
    values: dict[str, Any] = {
        "training": of_loader(feed.best),
        "validation": of_loader(feed.validation) if feed.validation else None,
        "cache": of_cache(feed),
        "environment": environment(feed),
        "knobs": sorted({knob for step in steps for knob in step.knobs}),
        "shared_memory_bytes": shared_memory(feed),
    }
    head = f"# hwdiag {__version__} on {one_line(feed.hostname)}, {feed.started_at}: {one_line(feed.data)}\n"
    return head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def environment(feed: Feed) -> dict[str, str]:
    """Return the variables for the training and its workers that were measured to help. torch itself gives a worker one
    thread."""
    helps = any(e.name == ONE_THREAD and e.verdict == "better" for e in feed.extras)
    return dict(LIBRARY_THREADS) if helps else {}


def shared_memory(feed: Feed) -> int:
    """Return the bytes of /dev/shm that both loaders and the cache need: --shm-size of a container."""
    loaders = sum(c.prediction.shared_bytes for c in (feed.best, feed.validation) if c is not None)
    cache = cache_rules.chosen(feed)
    return loaders + (int(cache_rules.taken(cache)) if cache is not None and cache.kind == "shared" else 0)


def of_cache(feed: Feed) -> dict[str, Any] | None:
    """Return the cache that pays as data: its kind, its size, and how it is made."""
    cache = cache_rules.chosen(feed)
    if cache is None or cache.speedup is None or feed.caching is None or feed.caching.kept is None:
        return None
    return {
        "kind": cache.kind,
        "class": f"sample_cache.{cache_rules.CLASSES[cache.kind]}",
        "arguments": cache_arguments(feed),
        "bytes": int(cache_rules.taken(cache)),
        "hit_rate": round(cache.hit, 3),
        "measured": {"speedup": round(cache.speedup.median, 3)},
    }


def cache_arguments(feed: Feed) -> dict[str, Any]:
    """Return the arguments of the cache's class, after the Dataset."""
    cache, found = cache_rules.chosen(feed), feed.caching
    if cache is None or found is None or found.kept is None:
        return {}
    if cache.kind == "lmdb":
        own: dict[str, Any] = {"path": f"{found.folder}/samples.lmdb", "map_size": found.map_bytes}
        if (found.readers or 0) > LMDB_READERS:
            own["readers"] = found.readers
    elif cache.kind == "shared":
        own = {"slot_bytes": found.kept.slot_bytes}
        method = feed.best.setting.start_method if feed.best else None
        own |= {"start_method": method} if method else {}
    else:
        own = {}
    return {**own, "most": cache.keeps}


def of_loader(chosen: ChosenSetting) -> dict[str, Any]:
    """Return one loader as data: its arguments, what its workers do first, and its speed."""
    setting = chosen.setting
    return {
        "arguments": {"batch_size": chosen.batch_size, "num_workers": 0, **setting.arguments()},
        "sharing_strategy": setting.sharing,
        "worker_threads": setting.threads,
        "worker_cpus": [list(cpus) for cpus in setting.places],
        "measured": {
            "samples_per_s": round(chosen.samples_s, 1),
            "first_batch_s": None if chosen.first_s is None else round(chosen.first_s, 3),
            "epoch_restart_s": None if chosen.restart_s is None else round(chosen.restart_s, 3),
        },
        "predicted": {
            "memory_bytes": chosen.prediction.total_bytes,
            "shared_memory_bytes": chosen.prediction.shared_bytes,
            "open_files": chosen.prediction.files,
        },
    }


def snippet(feed: Feed) -> str:
    """Return Python code that makes both loaders from ``dataset`` and ``validation_dataset``."""
    assert feed.best is not None
    cache = of_cache(feed)
    training = {"batch_size": feed.best.batch_size, "num_workers": 0, **feed.best.setting.arguments()}
    if cache and cache["kind"] == "worker" and feed.best.setting.workers:
        training["persistent_workers"] = True  # the cache ends with the worker
    return (
        templates("hwdiag.dataloader")
        .overlay(trim_blocks=True)
        .get_template("dataloader.py.j2")
        .render(
            feed=feed,
            verdict=verdict(feed),
            cache=cache,
            cache_class=cache_rules.CLASSES.get(str(feed.caching and feed.caching.chosen)),
            stream=bool(feed.dataset and feed.dataset.stream),
            version=__version__,
            setting=feed.best.setting,
            training=training,
            validation=(
                {"batch_size": feed.validation.batch_size, **feed.validation.setting.arguments()}
                if feed.validation
                else None
            ),
        )
    )


def rollout(feed: Feed, steps: list[PlanStep]) -> str:
    """Return the plan as Markdown, to follow from top to bottom."""
    lines = [f"# Feeding {markdown(feed.data)} on {markdown(feed.hostname)}", "", markdown(verdict(feed)), ""]
    for number, step in enumerate(steps, 1):
        lines += [f"## {number}. {markdown(step.title)}", ""]
        lines += [f"- gain: {markdown(step.gain_text)}", f"- do: {markdown(step.do)}"]
        lines += [f"- check: {markdown(step.check)}", f"- back: {markdown(step.undo)}", ""]
    return "\n".join(lines)


def markdown(text: str) -> str:
    """Return the text as one line of Markdown that stays text: no HTML, no link, no emphasis."""
    return "".join(f"\\{c}" if c in "\\`*<>[]|" else c for c in one_line(text))
