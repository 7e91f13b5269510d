"""Progress of long work: a bar where somebody watches, a line now and then where nobody does."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from hwdiag.core import verbosity
from hwdiag.process.observation.marks import MARKS
from hwdiag.report.widgets import is_interactive

Progress = Callable[[str, float], None]
"""Is told what is done, and which share of all is behind it, 0 to 1."""

LINE_EVERY_S = 9.0
"""Seconds between plain lines: nobody waits for longer than ten without a sign of life."""


def notebook_progress() -> Progress:
    """Return the progress of a notebook: a widget bar in JupyterLab, plain lines when it runs headless."""
    if not is_interactive():
        return lines(sys.stdout)

    def meter() -> Any:
        from tqdm.notebook import tqdm

        return tqdm(total=100, bar_format="{desc} {bar} {elapsed}")

    return bar(meter)


@contextlib.contextmanager
def terminal_progress(stream: TextIO) -> Iterator[Progress]:
    """Give the progress of a terminal while work lasts: a bar with the time that is left, or plain lines elsewhere.

    Both go on while the work says nothing. With --quiet there is none, with --verbose a line for each step.
    """
    if verbosity.is_quiet():
        yield marking(lambda text, share: None)
        return
    if verbosity.is_verbose():
        yield marking(lines(stream, every_s=0))
        return
    if not stream.isatty():
        with going_on(lines(stream)) as progress:
            yield marking(progress)
        return
    from tqdm import tqdm

    form = "{desc} {percentage:3.0f} %|{bar}| {elapsed}, about {remaining} left"
    with (
        tqdm(total=100, file=stream, leave=False, bar_format=form, smoothing=0, dynamic_ncols=True) as meter,
        going_on(bar(lambda: meter)) as progress,
    ):
        yield marking(progress)


@contextlib.contextmanager
def going_on(progress: Progress) -> Iterator[Progress]:
    """Repeat the last report each second, for as long as the work lasts: what takes no plain line so often leaves it
    out."""
    last: list[tuple[str, float]] = []
    over, lock = threading.Event(), threading.Lock()

    def told(text: str, share: float) -> None:
        with lock:
            last[:] = [(text, share)]
            progress(text, share)

    def repeat() -> None:
        while not over.wait(1):
            with lock:
                for text, share in last:
                    progress(text, share)

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        over.set()
        thread.join()


class Relayed(io.TextIOBase):
    """A stream that takes the plain lines of another process's progress and reports them; other text passes on."""

    def __init__(self, progress: Progress, stream: TextIO) -> None:
        super().__init__()
        self._progress, self._stream = progress, stream

    def write(self, text: str) -> int:
        for line in text.splitlines():
            found = re.fullmatch(r" *(\d+)% (.*?)(?: \(\d+ s\))?", line)
            if found:
                self._progress(found[2], int(found[1]) / 100)
            elif line.strip():
                print(line, file=self._stream, flush=True)
        return len(text)


def marking(progress: Progress) -> Progress:
    """Return a progress that also writes each new phase into the pipe of 'hwdiag monitor', where that watches this
    process."""
    pipe, said = os.environ.get(MARKS), ""

    def marked(text: str, share: float) -> None:
        nonlocal said
        phase = text.partition(":")[0]
        if pipe and phase != said:
            said = phase
            with contextlib.suppress(OSError):  # nobody reads it any more
                handle = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
                os.write(handle, f"{phase}\n".encode())
                os.close(handle)
        progress(text, share)

    return marked


def bar(make_meter: Callable[[], Any]) -> Progress:
    """Drive a tqdm bar of 100 steps by shares 0..1. It appears with the first report, where the work is done."""
    meter: Any = None

    def progress(text: str, share: float) -> None:
        nonlocal meter
        meter = meter if meter is not None else make_meter()
        meter.set_description_str(text, refresh=False)
        meter.n = round(100 * share, 1)
        meter.refresh()

    return progress


def lines(stream: TextIO, every_s: float = LINE_EVERY_S) -> Progress:
    """Return a progress that prints a plain line at most every so many seconds, with the seconds since the first."""
    began = last = None

    def progress(text: str, share: float) -> None:
        nonlocal began, last
        now = time.monotonic()
        began = now if began is None else began
        if last is None or now - last >= every_s:
            last = now
            print(f"{share:4.0%} {text} ({now - began:.0f} s)", file=stream, flush=True)

    return progress
