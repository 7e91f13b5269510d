"""Signals that hwdiag gets while a command runs, and that go on to it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hwdiag.process.command import Running

PATIENCE = 3
"""The command is killed with the third request to end: it had its chance with the first two."""
HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@contextmanager
def handling(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Signals go to the handler meanwhile; only the main thread can have them, and one that is ignored stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in HANDED_ON}
    try:
        for number, was in before.items():
            if was is not signal.SIG_IGN:
                signal.signal(number, handler)
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


@contextmanager
def forwarding(running: Running) -> Iterator[None]:
    """Signals go to this command meanwhile; the third request to end kills it."""
    requests = 0

    def hand_on(number: int, _: object) -> None:
        nonlocal requests
        requests += number in ENDS
        running.signal(number if requests < PATIENCE or number not in ENDS else signal.SIGKILL)

    with handling(hand_on):
        yield
