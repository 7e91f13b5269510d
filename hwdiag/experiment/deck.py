"""The deck of a factorial block: which combinations of levers are tried next."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hwdiag.experiment.lever import Factor, Lever, Plan


class Deck:
    """Combinations by chance in which each answer to a factor comes as often as the others."""

    def __init__(self, factors: Sequence[Factor], seed: int) -> None:
        self.factors = {f.name: list(f.levers) for f in factors if f.levers}
        self._order = random.Random(seed)
        self._left: dict[str, list[Lever | None]] = {}

    def draw(self, start: Plan) -> Plan:
        """Return the plan with one answer to each factor; one of them is to leave it as it is."""
        for name, levers in self.factors.items():
            if not self._left.get(name):
                self._left[name] = self._order.sample([None, *levers], len(levers) + 1)
            lever = self._left[name].pop()
            start = start if lever is None else start.plus(lever)
        return start

    def drop(self, out: set[str]) -> None:
        """Leave out the levers with these ids, and factors that have none left."""
        kept = {name: [x for x in levers if x.id not in out] for name, levers in self.factors.items()}
        self.factors = {name: levers for name, levers in kept.items() if levers}
        self._left = {n: [x for x in left if x is None or x.id not in out] for n, left in self._left.items()}
