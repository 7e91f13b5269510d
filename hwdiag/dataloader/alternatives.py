"""Other ways to make a batch than as found, each beside it: pixels, decoders, caches, threads of libraries."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from hwdiag.dataloader.child import Feeder
from hwdiag.dataloader.dataset import Decoding
from hwdiag.dataloader.model import Extra
from hwdiag.dataloader.search import SAMPLE, SETTING_SHARE
from hwdiag.dataloader.setting import LoaderSetting
from hwdiag.dataloader.trials import Trials
from hwdiag.experiment.judge import Claim, describe, judge_claims
from hwdiag.experiment.laboratory import Block, Scope
from hwdiag.experiment.lever import BASELINE
from hwdiag.experiment.model import Comparison, Phase
from hwdiag.experiment.one_shot import OneShot

ONE_THREAD = "one thread"
LIBRARY_THREADS = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
"""One thread for each library that a worker may call; they read these when they are loaded."""
ROUNDS = 2
"""Blocks of the screening, after which those go on that may be worth it, and of each group only the fastest."""


@dataclass(frozen=True)
class Alternative:
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

    @property
    def claim(self) -> Claim:
        """Return that it is faster than the batch as found; of one that takes something away, that it is slower."""
        scope = Scope(SAMPLE, (SAMPLE,))
        return Claim(BASELINE, scope, self.name) if self.loses else Claim(self.name, scope)


Time = Callable[[str, Phase, int], float | None]
"""Times one way by its name, or the batch as found: seconds for one sample; None where it failed."""


def timer(trials: Trials, feeder: Feeder, setting: LoaderSetting, alternatives: Sequence[Alternative]) -> Time:
    """Return what times them, all with the samples of ``trials.few``."""
    few = {} if trials.few is None else {"few": trials.few}
    runs = {BASELINE: trials.timer(feeder, data=few)}
    runs |= {a.name: trials.timer(a.feeder or feeder, data={**few, **a.data}) for a in alternatives}
    names = {BASELINE: "as found"}
    return lambda name, phase, block: runs[name](setting, names.get(name, name), phase, block)


def decide(
    alternatives: Sequence[Alternative],
    timed: Time,
    min_effect: float,
    *,
    end: float,
    grace_s: float = 0.0,
    is_setting_better: bool,
    seed: int = 1,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Comparison]:
    """Return what came of each by name: judged where it was hopeful and measured afresh, else as the screening saw it.

    They have what the search for the setting left of the run's error budget. ``seed``: of the order within a block.
    """
    numbers, order = count(1), random.Random(seed)

    def measure(claims: Sequence[Claim], phase: Phase) -> list[Block]:
        number = next(numbers)
        names = [*dict.fromkeys(name for claim in claims for name in (BASELINE, claim.plan, claim.baseline))]
        times = {name: timed(name, phase, number) for name in order.sample(names, len(names))}
        return [Block(number, {name: {SAMPLE: s} for name, s in times.items() if s is not None})]

    by_name = {a.name: a for a in alternatives}
    claims = {name: a.claim for name, a in by_name.items()}
    shot = OneShot(measure, clock, end, grace_s)
    shot.screen(list(claims.values()), ROUNDS)
    chosen = finalists(alternatives, shot, min_effect)
    share = 1.0 if is_setting_better else 1.0 - SETTING_SHARE
    shot.confirm([a.claim for a in chosen], family=len(chosen), share=share)
    judged = judge_claims(shot.claims, shot.confirmed, min_effect, share=share)
    found = {name_of(c): c for c in (*describe(claims.values(), shot.screened, min_effect), *judged)}
    return {name: found[name] for name in by_name if name in found}


def name_of(comparison: Comparison) -> str:
    """Return the name of the alternative that a comparison is about."""
    return comparison.baseline if comparison.candidate == BASELINE else comparison.candidate


def finalists(alternatives: Sequence[Alternative], shot: OneShot, min_effect: float) -> list[Alternative]:
    """Return those that may still be shown to make a difference that is worth it; of each group only the fastest."""
    by_claim = {a.claim: a for a in alternatives}
    promising = [by_claim[claim] for claim in shot.promising(by_claim, 1 + min_effect / 2)]
    fastest: dict[str, str] = {}
    for a in promising:
        fastest.setdefault(a.group, a.name)
    return [a for a in promising if not a.group or fastest[a.group] == a.name]


def extras(alternatives: Sequence[Alternative], found: Mapping[str, Comparison]) -> tuple[Extra, ...]:
    """Return what came of those that are not one of a group."""
    told = ((a, found[a.name]) for a in alternatives if a.name in found and not a.group)
    return tuple(
        Extra(name=a.name, what=a.what, speedup=c.speedup, verdict=c.verdict, changes=a.changes) for a, c in told
    )


def one_thread(feeder: Feeder) -> Alternative:
    """Return the alternative of one thread for each library that a worker calls, from a child that was started so."""
    return Alternative(
        ONE_THREAD,
        f"start the training with {' '.join(f'{name}={value}' for name, value in LIBRARY_THREADS.items())}",
        "nothing in the numbers; torch.set_num_threads() gives the training process its own threads back",
        feeder=feeder,
    )


def of_pictures(decoding: Decoding | None, size: int) -> list[Alternative]:
    """Return other ways to make numbers of a picture."""
    found = [
        Alternative(
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
        found.append(Alternative("reduced", what, f"the pixels differ {off}", {"reduced": True}))
    fastest = min((d for d in able if not d.reduced), key=lambda d: d.seconds or 0.0, default=None)
    if fastest is not None and first is not None and fastest.key != first.key:
        off = "unknown" if fastest.difference is None else f"by {fastest.difference:.1f} of 255 in the mean"
        what = f"decode with {fastest.name}"
        found.append(Alternative(fastest.key, what, f"the pixels differ {off}", {"decoder": fastest.key}))
    return found
