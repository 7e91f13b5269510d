"""dataloader.yaml for a configuration, and dataloader.py to copy from: the setting that was measured, as arguments."""

from __future__ import annotations

from typing import Any

import yaml

from hwdiag import __version__
from hwdiag.advise.feeding import PlanStep, verdict
from hwdiag.emit.launch_script import one_line, templates
from hwdiag.emit.settings import File
from hwdiag.feeding.model import Chosen, Feed

KNOBS = {"open files": "limits.nofile"}
"""Settings of the host that a step of the plan is about, by a word of its title."""


def feeding_files(feed: Feed, steps: list[PlanStep]) -> list[File]:
    """All files of a run; none where no loader was measured."""
    if feed.best is None:
        return []
    return [
        File(path="dataloader.yaml", text=as_yaml(feed, steps), what="The DataLoader's setting, for a configuration"),
        File(path="dataloader.py", text=snippet(feed), what="The same as code to copy from"),
        File(path="rollout.md", text=rollout(feed, steps), what="What to do, in order of measured gain"),
    ]


def as_yaml(feed: Feed, steps: list[PlanStep]) -> str:
    """The settings with what they were measured to give."""
    assert feed.best is not None
    values: dict[str, Any] = {
        "training": of_loader(feed.best),
        "validation": of_loader(feed.validation) if feed.validation else None,
        "environment": {},  # torch gives each worker one thread by itself; no variable was measured to add to that
        "knobs": sorted({knob for step in steps for word, knob in KNOBS.items() if word in step.title}),
    }
    head = f"# hwdiag {__version__} on {one_line(feed.hostname)}, {feed.started_at}: {one_line(feed.data)}\n"
    return head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def of_loader(chosen: Chosen) -> dict[str, Any]:
    """One loader: its arguments, what its workers do first, and what it gave."""
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
    """Python that makes both loaders from ``dataset`` and ``validation_dataset``."""
    assert feed.best is not None
    return (
        templates()
        .overlay(trim_blocks=True)
        .get_template("dataloader.py.j2")
        .render(
            feed=feed,
            verdict=verdict(feed),
            version=__version__,
            setting=feed.best.setting,
            training={"batch_size": feed.best.batch_size, "num_workers": 0, **feed.best.setting.arguments()},
            validation=(
                {"batch_size": feed.validation.batch_size, **feed.validation.setting.arguments()}
                if feed.validation
                else None
            ),
        )
    )


def rollout(feed: Feed, steps: list[PlanStep]) -> str:
    """The plan as Markdown, to follow from top to bottom."""
    lines = [f"# Feeding {markdown(feed.data)} on {markdown(feed.hostname)}", "", markdown(verdict(feed)), ""]
    for number, step in enumerate(steps, 1):
        lines += [f"## {number}. {markdown(step.title)}", ""]
        lines += [f"- gain: {markdown(step.gain_words)}", f"- do: {markdown(step.do)}"]
        lines += [f"- check: {markdown(step.check)}", f"- back: {markdown(step.undo)}", ""]
    return "\n".join(lines)


def markdown(text: str) -> str:
    """One line that stays text: no HTML, no link, no emphasis."""
    return "".join(f"\\{c}" if c in "\\`*<>[]|" else c for c in one_line(text))
