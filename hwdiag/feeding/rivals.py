"""Other ways to make a batch than as found, each in turns with it: pixels, decoders, caches, threads of libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hwdiag.feeding.child import Feeder
from hwdiag.feeding.dataset import Decoding
from hwdiag.feeding.model import Extra
from hwdiag.feeding.setting import Setting
from hwdiag.feeding.trials import Trials
from hwdiag.measure.model import Interval, Verdict
from hwdiag.measure.stats import MIN_PAIRS, faster_p, geometric_mean, judge, median_interval

ONE_THREAD = "one thread"
LIBRARY_THREADS = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
"""One thread for each library that a worker may call; they read these when they are loaded."""
SCREENED = 2
"""Blocks after which those go on that may be worth it, and of each group only the fastest."""


@dataclass(frozen=True)
class Rival:
    """One other way."""

    name: str
    what: str
    changes: str
    """What it changes in the numbers that the training sees."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """What the child is told."""
    group: str = ""
    """Of those with the same one, one can be taken; of those without, each."""
    loses: bool = False
    """Whether it takes something away, so that its loss is what counts."""
    feeder: Feeder | None = None
    """Another child, where it has to be started in another way."""


def in_turns(
    trials: Trials, feeder: Feeder, setting: Setting, rivals: Sequence[Rival], min_effect: float
) -> dict[str, list[float]]:
    """Speed-ups over the setting as it was found, one a block, by name; all with the samples of ``trials.few``."""
    few = {} if trials.few is None else {"few": trials.few}
    plain = trials.runner(feeder, data=few)
    runs = {r.name: trials.runner(r.feeder or feeder, data={**few, **r.data}) for r in rivals}
    ratios: dict[str, list[float]] = {r.name: [] for r in rivals}
    alive = [*rivals]
    for block in range(MIN_PAIRS):
        started = trials.clock()
        if not alive or trials.remaining_s <= 0:
            break
        today = plain(setting.model_copy(update={"name": "as found"}), "confirm", block)
        for rival in alive:
            other = runs[rival.name](setting.model_copy(update={"name": rival.name}), "confirm", block)
            if today is not None and other is not None:
                ratios[rival.name].append(today / other)
        if block + 1 == SCREENED:
            alive = finalists(alive, ratios, min_effect)
        if trials.remaining_s < trials.clock() - started:
            break
    return ratios


def finalists(rivals: Sequence[Rival], ratios: Mapping[str, Sequence[float]], min_effect: float) -> list[Rival]:
    """Those that may still be shown to make a difference that is worth it; of each group only the fastest."""

    def gain(rival: Rival) -> float:
        return geometric_mean(ratios[rival.name]) if ratios[rival.name] else 1.0

    able = [r for r in rivals if max(gain(r), r.loses / gain(r)) > 1 + min_effect / 2]
    best = {r.group: r.name for r in sorted(able, key=gain)}
    return [r for r in able if not r.group or best[r.group] == r.name]


def judged(ratios: Sequence[float], min_effect: float) -> tuple[Interval | None, Verdict]:
    """The median gain with its interval, and what that says; undecided where there were too few pairs."""
    if not ratios:
        return None, "undecided"
    speedup = median_interval(ratios)
    return speedup, judge(speedup, faster_p(ratios), min_effect)[0]


def extras(rivals: Sequence[Rival], ratios: Mapping[str, Sequence[float]], min_effect: float) -> tuple[Extra, ...]:
    """What came of those that are not one of a group."""
    found = []
    for rival in rivals:
        speedup, verdict = judged(ratios[rival.name], min_effect)
        if speedup is not None and not rival.group:
            found.append(
                Extra(name=rival.name, what=rival.what, speedup=speedup, verdict=verdict, changes=rival.changes)
            )
    return tuple(found)


def one_thread(feeder: Feeder) -> Rival:
    """One thread for each library that a worker calls, asked of a child that was started so."""
    return Rival(
        ONE_THREAD,
        f"start the training with {' '.join(f'{name}={value}' for name, value in LIBRARY_THREADS.items())}",
        "nothing in the numbers; torch.set_num_threads() gives the training process its own threads back",
        feeder=feeder,
    )


def of_pictures(decoding: Decoding | None, size: int) -> list[Rival]:
    """Other ways to make numbers of a picture."""
    found = [
        Rival(
            "uint8",
            "send uint8, normalise on the GPU",
            "nothing, if the GPU does the same arithmetic",
            {"dtype": "uint8"},
        )
    ]
    if decoding is None or decoding.kind != "jpeg":
        return found
    able = [d for d in decoding.decoders if d.seconds is not None]
    first = next((d for d in able if not d.reduced), None)
    small = next((d for d in able if d.reduced and first and d.key == first.key), None)
    if small is not None:
        off = f"by {small.difference:.1f} of 255 in the mean" if small.difference is not None else "slightly"
        what = f"decode at a reduced size (Pillow: draft('RGB', ({size}, {size})) before load)"
        found.append(Rival("reduced", what, f"the pixels differ {off}", {"reduced": True}))
    fastest = min((d for d in able if not d.reduced), key=lambda d: d.seconds or 0.0, default=None)
    if fastest is not None and first is not None and fastest.key != first.key:
        off = "unknown" if fastest.difference is None else f"by {fastest.difference:.1f} of 255 in the mean"
        what = f"decode with {fastest.name}"
        found.append(Rival(fastest.key, what, f"the pixels differ {off}", {"decoder": fastest.key}))
    return found
