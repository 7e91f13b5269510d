"""The steps of the rollout plan."""

from __future__ import annotations

from hwdiag.core.value import Value

RATE = "hwdiag dataloader again, and compare its samples/s"


class PlanStep(Value):
    """One thing to do, with how to see that it worked and how to take it back."""

    title: str
    gain: float | None = None
    """Speed over what it was before this step; None where it was not measured."""
    gain_text: str
    do: str
    check: str
    undo: str
    knobs: tuple[str, ...] = ()
    """Settings of the host that it is about, by their id in the audit."""
