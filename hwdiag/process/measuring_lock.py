"""Runs that measure on this host at the same time: each holds a shared lock on one file in the runtime folder.

flock(2) on a file that is open for reading is enough, so that runs of several users meet at the file that the first of
them made. Where there is no such folder, nobody is noticed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from functools import cache

FOLDERS = ("/run/lock", "/dev/shm")
"""Folders in which every user may make files, and that are empty after a boot."""
NAME = "hwdiag-measuring.lock"
LOOK_S = 0.5
"""Between two looks whether the others have ended."""


@cache
def held() -> int | None:
    """Return the open file of which this process holds a shared lock from here to its end; None where there is none."""
    for folder in (*FOLDERS, tempfile.gettempdir()):
        for flags in (0, os.O_CREAT):  # the kernel lets nobody create what another user has made (protected_regular)
            with contextlib.suppress(OSError):
                how = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | flags
                file = os.open(f"{folder}/{NAME}", how, 0o644)
                with contextlib.suppress(OSError):  # another looks whether it is alone: taken at our next look
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return file
    return None


def another_measures() -> bool:
    """Return whether another run of hwdiag measures on this host now: then the lock cannot be had alone."""
    file = held()
    if file is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return False


def wait_for_others(minutes: float, say: Callable[[str], None]) -> None:
    """Wait until no other run of hwdiag measures on this host, for so many minutes at most.

    Of several that wait, one goes on at a time: none holds the lock while it waits.
    """
    if not minutes or not another_measures():
        return
    say(f"another run of hwdiag measures on this host: waiting for its end, for {minutes:g} minutes at most")
    file, until = held(), time.monotonic() + 60 * minutes
    assert file is not None
    fcntl.flock(file, fcntl.LOCK_UN)
    while time.monotonic() < until:
        time.sleep(min(LOOK_S, max(0.0, until - time.monotonic())))
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
    else:
        say("the other run goes on measuring, and so does this one: each disturbs the other")
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def let_go() -> None:
    """Hold the lock no longer: another process measures in place of this one."""
    file = held()
    if file is not None:
        fcntl.flock(file, fcntl.LOCK_UN)
