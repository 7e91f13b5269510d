"""End of the program, as a sentence, and its signal."""

from __future__ import annotations

import signal

from hwdiag.process.observation.model import Ending
from hwdiag.process.outcome import SIGNAL_MEANING
from hwdiag.report.format import clean, seconds, shorten

LONGEST_LINE = 2000


def failed(ending: Ending) -> bool:
    """Return whether the program failed: not so where it runs on, or a person ended it."""
    by_a_person = ending.asked_to_end is not None or ended_by(ending) == "SIGINT"
    return ending.status not in (None, 0) and not by_a_person


def ended_by(ending: Ending) -> str:
    """Return the signal that ended it, also where a shell or a container told of it by a status above 128; or ""."""
    status = ending.status or 0
    number = -status if status < 0 else status - 128 if 128 < status < 128 + 65 else 0
    return signal.Signals(number).name if number in set(signal.Signals) else ""


def last_line(ending: Ending) -> str:
    """Return the last line of its standard error, or else of its output, short and harmless; or ""."""
    for text in (ending.stderr, ending.stdout):
        told = [line for line in text[-1 << 16 :].splitlines() if line.strip()]
        if told:
            return shorten(clean(told[-1][:LONGEST_LINE]), 300)
    return ""


def sentence(ending: Ending) -> str:
    """Return how it ended, with its last line where it failed."""
    if ending.status is None:
        return "It was still running when the look ended." if ending.outcome.ok else f"{clean(ending.outcome.detail)}."
    line = last_line(ending)
    wrote = f' Its last line: "{line}".' if line and ending.status else ""
    return f"It ended {how(ending)} after {seconds(ending.seconds)}.{wrote}"


def how(ending: Ending) -> str:
    """Return ``by SIGKILL``, ``with exit status 1``."""
    name, status = ended_by(ending), ending.status or 0
    if status < 0:
        return f"by {name or f'signal {-status}'}{f' ({SIGNAL_MEANING[name]})' if name in SIGNAL_MEANING else ''}"
    return f"with exit status {status}{f', as after {name}' if name else ''}"
