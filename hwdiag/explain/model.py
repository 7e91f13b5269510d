"""The study of the topic ``explain``: the program as it was observed, and what follows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hwdiag.core.finding import Check, Finding
from hwdiag.core.value import TopicStudy, Value
from hwdiag.host.model import Host
from hwdiag.process.observation.model import ObservedProcess, Program

Answer = Finding | Check


class NextStep(Value):
    """A command that may help further, to copy."""

    command: str
    why: str


class TimeShare(Value):
    """A share of the program's time."""

    what: str
    """``PyTorch's operations``, ``waiting for data``, ``waiting for a CPU`` ..."""
    share: float
    """0..1."""
    of: str = "the time"
    """What it is a share of: ``the time of its loop``, ``the recorded time`` ..."""
    process: str = ""
    """Which of several processes; empty where there is one."""


class Explanation(TopicStudy):
    """The findings of one look at a program."""

    program: Program
    shares: tuple[TimeShare, ...]
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]
    next_steps: tuple[NextStep, ...]


@dataclass(frozen=True)
class Case:
    """All that a probe looks at."""

    host: Host
    program: Program

    @cached_property
    def computing(self) -> tuple[ObservedProcess, ...]:
        """Return the processes that use torch, without workers of DataLoaders; if there are none, the one that used
        most CPU."""
        processes = [p for p in self.program.processes if not p.worker]
        return tuple(p for p in processes if p.torch) or tuple(processes[:1])
