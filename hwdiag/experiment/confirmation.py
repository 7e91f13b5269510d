"""Confirmation: what the screening found, measured afresh against today's way, by as many pairs as it takes."""

from __future__ import annotations

import math
from collections.abc import Callable

from hwdiag.experiment.laboratory import Block
from hwdiag.experiment.statistics import ALPHA, MIN_PAIRS, pairs_needed

SPARE_PAIRS = 2
"""Pairs beyond the least, so that one that met an accident of the machine does not leave all undecided."""
CONFIRM_SHARE = 0.45
"""Share of the time that is kept for the confirmation."""


def least_pairs(claims: int, share: float = 1.0) -> int:
    """Return the pairs by which so many claims, of which all pairs are faster, pass Holm's correction with a share of
    the error budget."""
    return max(MIN_PAIRS, math.ceil(math.log2(max(1, claims) / (share * ALPHA))))


def wanted_pairs(noise: float, half_width: float, least: int, most: int) -> int:
    """Return the pairs for an interval of ``half_width`` to each side, within what is worth the time.

    ``noise`` is the spread of one pair's ratio, ``least`` the pairs without which nothing is decided.
    """
    return max(least + SPARE_PAIRS, min(most, pairs_needed(noise, half_width)))


def confirm(
    measure: Callable[[], list[Block]],
    clock: Callable[[], float],
    pairs: int,
    least: int,
    *,
    end: float,
    grace_s: float,
) -> list[Block]:
    """Measure afresh in so many rounds, or as many as there is time for until ``end``, which is on that clock.

    Fewer than ``least`` would be wasted, so those get ``grace_s`` more. A round that compares nothing is the last.
    """
    blocks: list[Block] = []
    for done in range(1, pairs + 1):
        began = clock()
        fresh = measure()
        blocks += fresh
        took = clock() - began
        compares_nothing = all(len(block.seconds) < 2 for block in fresh)
        if compares_nothing or clock() + took > end + (grace_s if done < least else 0):
            break
    return blocks
