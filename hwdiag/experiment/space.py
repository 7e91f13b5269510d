"""The space of a search: its factors, in the order in which they are tried, and plans that are confirmed anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwdiag.core.choices import ACCURACIES, Accuracy
from hwdiag.experiment.lever import Factor, Plan


@dataclass(frozen=True)
class SearchSpace:
    """The factors of a search: one is raced first, some are tried together, and some come last."""

    first: Factor | None
    factorial: Sequence[Factor] = ()
    last: Sequence[Factor] = ()
    """Raced one after the other in the time that is left: a trial of theirs takes long."""
    offers: Sequence[Plan] = ()
    """Plans that are confirmed beside the best, whatever the screening says of them."""
    promised: Plan | None = None
    """One that looked so much faster that its confirmation has its time first; the screening has what that leaves."""

    @property
    def factors(self) -> list[Factor]:
        """Return all factors."""
        return [*([self.first] if self.first else []), *self.factorial, *self.last]

    def limits(self, asked: Accuracy) -> list[Accuracy]:
        """Return the accuracies for which a best plan is looked for: what was asked for, and all that differ."""
        there = {"same", asked, *(lever.accuracy for factor in self.factors for lever in factor.levers)}
        return [accuracy for accuracy in ACCURACIES if accuracy in there]
