"""Looks at live objects during which no other thread of the program runs.

While a list of all live objects exists, what another thread is about to build is in it, with a reference too many:
``tuple(iterator)`` then raises SystemError in that thread. So the interpreter's lock is kept for a look: others ask for
it only after the switch interval, which is longer meanwhile, and the list is gone before it ends.
"""

import gc
import sys
import time

INTERVAL_S = 1.0
"""Longer than a look takes; so long, at most, a thread that never lets go of the lock makes the look wait."""


def live(kinds, generation=None):
    """Return the live objects of just these types, of one generation or of all, and how many objects there are."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(INTERVAL_S)
    try:
        time.sleep(0.001)  # whoever waits by the old interval gets the lock, and waits by the new one after that
        objects = gc.get_objects(generation)
        count = len(objects)
        found = [o for o in objects if type(o) in kinds]
        o = objects = None  # noqa: F841
        return found, count
    finally:
        sys.setswitchinterval(before)
