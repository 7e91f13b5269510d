"""Looks at live objects that leave what another thread is building alone.

While a list of all live objects exists, a tuple that another thread fills is in it, with a reference too many:
``tuple(iterator)`` then raises SystemError in that thread. So such a list lives within one call into C alone, which
consumes it to its end, and no other thread runs meanwhile. Objects themselves are found by what refers to their types.
"""

import gc
from itertools import chain


def count(kinds, generations=(None,)):
    """Return how many live objects there are of just these types, in these generations or in all."""
    return sum(map(kinds.__contains__, map(type, chain.from_iterable(map(gc.get_objects, generations)))))


def count_all():
    """Return how many live objects there are."""
    return sum(map(len, map(gc.get_objects, (None,))))


def of_kinds(kinds):
    """Return the live objects of just these types; none before Python 3.9, where objects do not refer to them."""
    return [o for o in gc.get_referrers(*kinds) if type(o) in kinds]
