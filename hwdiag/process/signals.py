"""Signals that hwdiag gets while a command runs, and that go on to it."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hwdiag.process.command import Running

PATIENCE = 3
"""The command is killed with the third request to end: it had its chance with the first two."""
HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@contextmanager
def handling(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Give signals to the handler meanwhile. Only the main thread can have them, and an ignored one stays ignored."""
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


class Requests:
    """Signals that come while a command runs: they go on to it, and the third request to end kills it."""

    def __init__(self, running: Running | None = None) -> None:
        self.running = running
        self.count = 0
        """Requests to end."""
        self.first: int | None = None
        self.first_at = math.inf
        """The first request to end: its signal, and when it came on the monotonic clock."""

    def asked(self, number: int, _: object = None) -> None:
        """Handle a signal: count a request to end, and hand the signal on to the command."""
        if number in ENDS:
            self.count += 1
            if self.first is None:
                self.first, self.first_at = number, time.monotonic()
        self._hand_on(number)

    def started(self, running: Running) -> None:
        """Note the command, and give it the signal that came before it was there."""
        self.running = running
        if self.first is not None:
            self._hand_on(self.first)

    def _hand_on(self, number: int) -> None:
        if self.running is not None:
            self.running.signal(number if self.count < PATIENCE or number not in ENDS else signal.SIGKILL)


@contextmanager
def on_resize(act: Callable[[], None]) -> Iterator[None]:
    """Call this when the terminal gets another size (SIGWINCH); only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGWINCH, lambda *_: act())
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


@contextmanager
def forwarding(running: Running) -> Iterator[None]:
    """Forward signals to this command meanwhile. The third request to end kills it."""
    with handling(Requests(running).asked):
        yield
