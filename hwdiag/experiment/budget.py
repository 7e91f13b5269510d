"""Measuring budgets: the time and the sample counts of quick, standard and thorough runs."""

from __future__ import annotations

from dataclasses import replace

from hwdiag.core.choices import BudgetName
from hwdiag.core.value import Value
from hwdiag.experiment.interleaved import Turn

TEAM_WINDOW_S = 0.25
"""Long beside the time slices of the scheduler (some ms), and beside the millisecond in which all have started."""


GRACE = 0.1
"""Share of its time by which a budget may be exceeded, to reach the pairs without which nothing is decided."""


class Budget(Value):
    """Limits of one run of measurements."""

    total_s: float
    """Time for all measurements together. No new block starts that would not end in time."""
    noise_blocks: int
    """Blocks in which today's default meets itself, on all workloads."""
    rounds: int
    """Blocks, at most, in which the candidates of one question meet."""
    most_pairs: int
    """Pairs of processes, at most, by which a finalist is confirmed. The noise decides how many are needed."""
    finalists: int
    turn: Turn
    looks: int = 0
    """Plans of lower precision, at most, that are looked at once before the search."""

    def lasting(self, minutes: float | None) -> Budget:
        """Return a copy with this total time in minutes."""
        return self if minutes is None else self.model_copy(update={"total_s": minutes * 60})

    @property
    def grace_s(self) -> float:
        """Return the seconds by which the time may be exceeded."""
        return GRACE * self.total_s

    def for_teams(self) -> Budget:
        """Return a copy with windows in which processes that run together reach a steady state."""
        turn = replace(
            self.turn, window_s=max(TEAM_WINDOW_S, self.turn.window_s), windows=max(2, self.turn.windows // 2)
        )
        return self.model_copy(update={"turn": turn})


BUDGETS: dict[BudgetName, Budget] = {
    "quick": Budget(
        total_s=74,
        noise_blocks=1,
        rounds=1,
        most_pairs=10,
        finalists=1,
        turn=Turn(warmup_s=0.05, window_s=0.03, windows=3, min_samples=1),
        looks=3,
    ),
    "standard": Budget(
        total_s=280,
        noise_blocks=2,
        rounds=4,
        most_pairs=16,
        finalists=3,
        turn=Turn(warmup_s=0.1, window_s=0.04, windows=8, min_samples=1),
        looks=5,
    ),
    "thorough": Budget(
        total_s=1200,
        noise_blocks=6,
        rounds=10,
        most_pairs=40,
        finalists=4,
        turn=Turn(warmup_s=0.2, window_s=0.06, windows=16, min_samples=1),
        looks=5,
    ),
}
