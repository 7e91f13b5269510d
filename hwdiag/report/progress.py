"""Progress of long work: a bar where somebody watches, a line now and then where nobody does."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from hwdiag.process.observation.marks import MARKS
from hwdiag.report.widgets import is_interactive

Progress = Callable[[str, float], None]

LINE_EVERY_S = 10.0
"""Seconds between plain lines."""


def notebook_progress() -> Progress:
    """Return the progress of a notebook: a widget bar in JupyterLab, plain lines when it runs headless."""
    if not is_interactive():
        return lines(sys.stdout)

    def meter() -> Any:
        from tqdm.notebook import tqdm

        return tqdm(total=100, bar_format="{desc} {bar} {elapsed}")

    return bar(meter)


def terminal_progress(stream: TextIO) -> Progress:
    """Return the progress of a terminal: a bar, or plain lines where the stream is none."""
    if not stream.isatty():
        return marking(lines(stream))

    def meter() -> Any:
        from tqdm import tqdm

        return tqdm(total=100, file=stream, leave=False, bar_format="{l_bar}{bar}| {elapsed}")

    return marking(bar(meter))


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
        meter.n = round(100 * share)
        meter.refresh()

    return progress


def lines(stream: TextIO) -> Progress:
    """Return a progress that prints a plain line at most every ``LINE_EVERY_S`` seconds."""
    last = -LINE_EVERY_S

    def progress(text: str, share: float) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            print(f"{share:4.0%} {text}", file=stream, flush=True)

    return progress
