"""How long to measure: what quick, standard and thorough mean."""

from __future__ import annotations

from typing import Literal

from hwdiag.measure.turns import Turn
from hwdiag.model import Value

BudgetName = Literal["quick", "standard", "thorough"]


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


BUDGETS: dict[BudgetName, Budget] = {
    "quick": Budget(
        total_s=74,
        noise_blocks=1,
        rounds=1,
        most_pairs=10,
        finalists=1,
        turn=Turn(warmup_s=0.05, window_s=0.03, windows=3, min_samples=1),
    ),
    "standard": Budget(
        total_s=170,
        noise_blocks=2,
        rounds=4,
        most_pairs=16,
        finalists=3,
        turn=Turn(warmup_s=0.1, window_s=0.04, windows=8, min_samples=1),
    ),
    "thorough": Budget(
        total_s=1200,
        noise_blocks=6,
        rounds=10,
        most_pairs=40,
        finalists=4,
        turn=Turn(warmup_s=0.2, window_s=0.06, windows=16, min_samples=1),
    ),
}
