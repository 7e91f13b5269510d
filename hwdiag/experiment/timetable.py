"""The timetable of a search: when its screening ends, so that the confirmation has the pairs by which it decides."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hwdiag.experiment.confirmation import CONFIRM_SHARE, least_pairs, wanted_pairs
from hwdiag.experiment.judge import FIRST_SHARE
from hwdiag.experiment.lever import Factor
from hwdiag.experiment.screening import Screening
from hwdiag.experiment.space import SearchSpace

SPARE = 1.2
"""Time that is kept for the confirmation, over what the trials so far would take."""
WARM = 0.3
"""First call of a process that finds the code that another one compiled, of that one's first call, roughly."""
MANY = 99
"""Plans that can be confirmed where it is not known how long one takes."""
PLAYERS = 6
"""Processes of a block in which whole plans are raced, roughly."""
RACE_SHARE = 0.55
"""Share of the time to screen, for the factor that decides most."""


@dataclass(frozen=True)
class Effort:
    """The time that a search may take, and how much it measures in that time."""

    total_s: float
    rounds: int
    """Blocks, at most, of one race."""
    most_pairs: int
    """Pairs, at most, by which a plan is confirmed. The noise decides how many are needed."""
    finalists: int
    """Plans, at most, that are measured afresh."""
    grace: float = 0.25
    """Share of the time by which the confirmation may exceed it to reach the pairs without which nothing is decided."""


@dataclass(frozen=True)
class Timetable:
    """Moments on the laboratory's clock, by the pace and the noise that the screening has shown so far."""

    screening: Screening
    space: SearchSpace
    effort: Effort
    scopes: int
    """Workloads, and all together, on which each plan is judged."""
    share: float
    """Of the run's error budget."""
    min_effect: float
    least_noise: float
    began: float

    @property
    def end(self) -> float:
        """Return when the search ends."""
        return self.began + self.effort.total_s

    @property
    def grace_s(self) -> float:
        """Return the seconds by which the confirmation may exceed that to reach the pairs that decide."""
        return self.effort.grace * self.effort.total_s

    @property
    def limits(self) -> int:
        """Return the number of accuracies for which a best plan is looked for."""
        return len(self.space.limits(self.screening.accuracy))

    @property
    def least(self) -> int:
        """Return the pairs that decide on one plan."""
        return enough_pairs(self.scopes, self.share)

    def pairs(self, least: int) -> int:
        """Return the pairs that the confirmation wants: of a large gain a twentieth is precise enough."""
        half_width = max(self.min_effect / 2, (math.exp(self.screening.gain(self.screening.best)[0]) - 1) / 20)
        noise = max(self.screening.noise, self.least_noise)
        return wanted_pairs(noise, half_width, least, self.effort.most_pairs)

    def confirming_s(self, slow_s: float = 0.0) -> float:
        """Return what the confirmation of all plans takes, of processes whose first call takes so many seconds."""
        plans = 1 + self.limits + len(self.space.offers)
        return SPARE * self.pairs(self.least) * (plans * self.screening.pace + slow_s)

    def screened(self) -> float:
        """Return when the screening should end."""
        deadline, pace = self.began + (1 - CONFIRM_SHARE) * self.effort.total_s, self.screening.pace
        if not pace:
            return deadline  # nothing was measured so far
        if self.space.promised is not None:
            deadline = min(deadline, self.end - SPARE * self.least * 2 * pace, self.latest())
        else:
            deadline = min(deadline, self.latest() - PLAYERS * pace)
        return max(deadline, self.end - self.confirming_s())

    def screened_before(self, factor: Factor) -> float:
        """Return when the screening of a factor that is slow to start must end, for the confirmation to start it as
        often as it must."""
        return self.end - self.confirming_s(WARM * factor.slow_s) if self.screening.pace else self.screened()

    def latest(self) -> float:
        """Return when the screening must have ended for two plans, or all, to have the pairs that decide."""
        return self.end + self.grace_s - self.least * (1 + min(2, self.limits)) * self.screening.pace

    def factorial_end(self) -> float:
        """Return when the factorial blocks end: early enough for what is slow to start, where at least half of the time
        is left for them then."""
        slow = [factor for factor in self.space.last if factor.slow_s]
        whole = self.screened()
        if not slow:
            return whole
        early = min(map(self.screened_before, slow))
        early -= sum(factor.slow_s * len(factor.levers) * self.limits for factor in slow)
        return early if early - self.began >= (whole - self.began) / 2 else whole

    def plans_that_fit(self) -> int:
        """Return the plans that can be confirmed by the pairs that decide in the time that is left, one at least."""
        pace, left_s = self.screening.pace, self.end + self.grace_s - self.screening.laboratory.clock()
        return max(1, int(left_s / (self.least * pace)) - 1) if pace else MANY


def enough_pairs(claims: int, share: float) -> int:
    """Return the pairs by which the first of so many claims, and then the others, pass if all pairs are faster."""
    first = least_pairs(1, share * (FIRST_SHARE if claims > 1 else 1.0))
    return max(first, least_pairs(claims - 1, share)) if claims > 1 else first
