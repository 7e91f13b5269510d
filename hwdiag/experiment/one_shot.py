"""One-shot design: each candidate by itself against today's way, and what looks good measured again, afresh.

For candidates that are not combined: techniques on a net, other ways to make a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from hwdiag.experiment.confirmation import SPARE_PAIRS, confirm, least_pairs
from hwdiag.experiment.judge import Claim
from hwdiag.experiment.laboratory import Block
from hwdiag.experiment.model import Phase
from hwdiag.experiment.statistics import geometric_mean

Measure = Callable[[Sequence[Claim], Phase], list[Block]]
"""Measures what these claims are about once, beside what they are held against."""


@dataclass
class OneShot:
    """Candidates measured so far, each by itself, and the claims that follow."""

    measure: Measure
    clock: Callable[[], float]
    end: float
    """When no new block begins, on that clock."""
    grace_s: float = 0.0
    """By how much a confirmation may exceed it to reach the pairs without which nothing is decided."""
    screened: list[Block] = field(default_factory=list)
    confirmed: list[Block] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    """Planned after the screening, before what confirms them was measured."""

    def screen(self, candidates: Sequence[Claim], rounds: int) -> float:
        """Measure each candidate in so many blocks, or as many as there is time for; return the seconds of a block."""
        took = 0.0
        for _ in range(rounds if candidates else 0):
            began = self.clock()
            if began + took > self.end or began >= self.end:
                break
            self.screened += self.measure(candidates, "screen")
            took = self.clock() - began
        return took

    def gain(self, candidate: Claim) -> float:
        """Return the speed-up that the screening saw; 1 where it saw none."""
        ratios = candidate.speedups(self.screened)
        return geometric_mean(ratios) if ratios else 1.0

    def promising(self, candidates: Iterable[Claim], least_gain: float) -> list[Claim]:
        """Return those that looked better than ``least_gain``, the largest gain first."""
        gains = {claim: self.gain(claim) for claim in candidates}
        return sorted((claim for claim, gain in gains.items() if gain > least_gain), key=lambda claim: -gains[claim])

    def confirm(self, claims: Sequence[Claim], *, family: int, share: float = 1.0) -> None:
        """Measure these afresh, by the pairs that the whole ``family`` of claims needs and a little more."""
        if not claims:
            return
        self.claims += claims
        least = least_pairs(family, share)
        self.confirmed += confirm(
            lambda: self.measure(claims, "confirm"),
            self.clock,
            least + SPARE_PAIRS,
            least,
            end=self.end,
            grace_s=self.grace_s,
        )
