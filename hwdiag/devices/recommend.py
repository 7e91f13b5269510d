"""Recommendations of techniques for a script: those that were shown to gain on this host, as they were measured."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hwdiag.core.choices import Accuracy
from hwdiag.core.value import Value
from hwdiag.devices.model import Gain, Study
from hwdiag.experiment.statistics import geometric_mean
from hwdiag.experiment.techniques import BY_NAME, Mode, Technique

TOLERATED: dict[Accuracy, float] = {"same": 1e-3, "reduced": 0.05, "quantised": 0.05}
"""Error up to which a technique is written down, by the accuracy that it asks for: beyond it, it is named with its
error, and a person decides. In float32 that is the rounding of a deep net."""


class Choice(Value):
    """A technique for one mode on one device, and the evidence for it."""

    technique: str
    mode: Mode
    device: str
    gains: tuple[Gain, ...]

    @property
    def entry(self) -> Technique:
        return BY_NAME[self.technique]

    @property
    def gain(self) -> float:
        """Return the geometric mean of its speed-ups."""
        return self.gain_on({g.workload for g in self.gains})

    def gain_on(self, workloads: Collection[str]) -> float:
        """Return the geometric mean of its speed-ups on these nets."""
        return geometric_mean(
            [g.comparison.speedup.median for g in self.gains if g.comparison and g.workload in workloads]
        )

    @property
    def wins(self) -> int:
        """Return on how many nets it was shown to be faster."""
        return sum(g.comparison.verdict == "better" for g in self.gains if g.comparison)

    @property
    def evidence(self) -> str:
        """Return the speed-ups as text: ``resnet18-inference 1.31x (1.28 to 1.34)``."""
        seen = [(g.workload, g.comparison.speedup) for g in self.gains if g.comparison]
        return ", ".join(f"{name} {s.median:.2f}x ({s.low:.2f} to {s.high:.2f})" for name, s in seen)


def choices(study: Study) -> tuple[Choice, ...]:
    """Return what was measured together, for each device and mode: what is on by default and gains, and the best
    technique.

    Every process that was compared has the defaults on; of the others each was measured without the rest, so only one
    of them is handed over.
    """
    found: list[Choice] = []
    modes: tuple[Mode, ...] = ("inference", "training")
    for device in study.devices:
        for mode in modes:
            gaining = winners(study, device.name, mode)
            best = best_of([c for c in gaining if not c.entry.is_default])
            found += [c for c in gaining if c.entry.is_default or c is best]
    return tuple(found)


def winners(study: Study, device: str, mode: Mode) -> list[Choice]:
    """Return the techniques that made a net faster beyond doubt, made none slower, and kept its results."""
    found = []
    mine = [g for g in study.gains if (g.device, g.mode) == (device, mode) and g.comparison]
    for name in dict.fromkeys(g.technique for g in mine):
        of = tuple(g for g in mine if g.technique == name)
        verdicts = {g.comparison.verdict for g in of if g.comparison}
        if "better" in verdicts and "worse" not in verdicts and all(map(is_exact_enough, of)):
            found.append(Choice(technique=name, mode=mode, device=device, gains=of))
    return found


def best_of(choices: Sequence[Choice]) -> Choice | None:
    """Return the one that gains most on the nets that all of them ran on; what was never tried on a net says nothing
    there.

    Where they share no net, the one that was shown to gain on most nets.
    """
    shared = set.intersection(*({g.workload for g in c.gains} for c in choices)) if choices else set()
    if not shared:
        return max(
            choices, key=lambda c: sum(g.comparison.verdict == "better" for g in c.gains if g.comparison), default=None
        )
    return max(choices, key=lambda c: c.gain_on(shared))


def is_exact_enough(gain: Gain) -> bool:
    """Return whether a technique's results stayed as near those without it as the precision that it asks for allows."""
    tolerated = TOLERATED[BY_NAME[gain.technique].accuracy]
    return gain.max_error is None or gain.max_error <= max(tolerated, 2 * (gain.default_error or 0))
