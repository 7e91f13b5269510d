"""How long to measure: what quick, standard and thorough mean."""

from __future__ import annotations

from typing import Literal

from hwdiag.model import Value

BudgetName = Literal["quick", "standard", "thorough"]


class Budget(Value):
    """Limits of one run of measurements."""

    total_s: float
    """Time for all measurements together. No new block starts that would not end in time."""
    screen_blocks: int
    """Blocks in which every candidate runs once."""
    confirm_blocks: int
    """Blocks in which the finalists and the default run once, fresh."""
    finalists: int
    sample_s: float
    """Sampling time of one workload in one process."""
    min_samples: int


BUDGETS: dict[BudgetName, Budget] = {
    "quick": Budget(total_s=74, screen_blocks=1, confirm_blocks=12, finalists=1, sample_s=0.1, min_samples=3),
    "standard": Budget(total_s=240, screen_blocks=4, confirm_blocks=10, finalists=3, sample_s=0.3, min_samples=5),
    "thorough": Budget(total_s=1500, screen_blocks=8, confirm_blocks=24, finalists=4, sample_s=0.6, min_samples=10),
}
