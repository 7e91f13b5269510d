"""Steps of the explain notebook and of ``hwdiag explain``: parameters in, an explanation to walk through."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from hwdiag.core.errors import UsageError
from hwdiag.core.finding import Check, Finding
from hwdiag.explain import show
from hwdiag.explain.explain import explain
from hwdiag.explain.model import Explanation
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.host.sampling import Sampler
from hwdiag.parameters.diagnosis import load_topic
from hwdiag.parameters.watching import ExplainParams
from hwdiag.process.agent import MAIN
from hwdiag.process.observation.model import Program
from hwdiag.process.observation.observe import observe_command, observe_pid
from hwdiag.process.observation.witness import Witness
from hwdiag.process.supervised import Stdio
from hwdiag.record.model import Record
from hwdiag.record.store import folder_name
from hwdiag.report.section import Section
from hwdiag.workbook.cells import replayed
from hwdiag.workbook.params import ChosenParameters
from hwdiag.workbook.records import chosen_params, record_of, replayed_study, save, told

EXAMPLE = MAIN.with_name("example_training.py")
PID_S = 20.0
"""Seconds for which a running process is looked at where nothing else is said."""

load = partial(load_topic, ExplainParams)
"""Returns the parameters, checked. Raises ``UsageError`` for an unknown name, or a wrong value."""


def parameters(namespace: Mapping[str, Any]) -> ChosenParameters[ExplainParams]:
    """Check the parameters that the notebook's first cells set.

    Args:
        namespace: the notebook's ``globals()``.

    Raises:
        UsageError: an unknown parameter or a wrong value.
    """
    return chosen_params(namespace, "explain", ExplainParams, load)


class Explained:
    """One program that is explained: ``run``, ``time``, ``seen``, ``save``."""

    def __init__(self, params: ExplainParams, folder: Path | None = None) -> None:
        """``folder``: where the record is written; None makes one under outputs/."""
        self.params, self.folder = params, folder
        self.host = read_host(Root.live())

    def look(self, stdio: Stdio = (None, None, None)) -> Program:
        """Look at the command or the process; ``stdio`` are the command's files.

        Raises:
            UsageError: there is nothing to look at, or it cannot be looked at.
            HwdiagError: the command could not be started.
        """
        params = self.params
        if not params.command and params.pid is None:
            raise UsageError("explain what? Give a command after --, or --pid PID of a process that runs")
        with closing(Sampler(Root.live())) as sampler, ExitStack() as stack:
            if params.pid is not None:
                return observe_pid(params.pid, params.seconds or PID_S, sampler=sampler)
            assert params.command
            witness = stack.enter_context(Witness()) if params.inside else None
            return observe_command(
                params.command, stdio=stdio, seconds=params.seconds, witness=witness, sampler=sampler
            )

    @cached_property
    def done(self) -> Explanation:
        """Return the explanation, made once, when it is first asked for."""
        return explain(self.look(), self.host)

    def run(self) -> Section:
        """Return the section on what is wrong with the program."""
        return show.summary(self.done)

    def time(self) -> Section:
        """Return the section on where the time went."""
        return show.time(self.done)

    def seen(self) -> Section:
        """Return the section on what was looked at."""
        return show.seen(self.done)

    @cached_property
    def record(self) -> Record:
        """Return the explanation as a record."""
        said: list[Finding | Check] = [*self.done.findings, *self.done.checks]
        params = self.params.model_dump(mode="json")
        name = folder_name(self.params.host, os.uname().nodename)
        verdict = show.verdict(self.done)
        return record_of("explain", self.done, host=self.host, verdict=verdict, params=params, said=said, name=name)

    def save(self) -> str:
        """Write what was found; says where.

        Raises:
            HwdiagError: it could not be written.
        """
        return told(*save(self.record, folder=self.folder))


class ReplayedExplanation(Explained):
    """An explanation that was made before, shown in place of a new one."""

    def __init__(self) -> None:
        """Raises ``UsageError`` where there is none."""
        self.done, self.record, self.folder = replayed_study("explain", Explanation)

    def save(self) -> str:
        assert self.folder is not None
        return told(self.record, self.folder, show.verdict(self.done))


def start(choice: ChosenParameters[ExplainParams]) -> Explained:
    """Begin; with HWDIAG_REPLAY set, walk through the explanation recorded there instead.

    Where neither a command nor a process is given, the program is the agent's ``example_training.py``.
    """
    if replayed() is not None:
        return ReplayedExplanation()
    params = choice.params
    if not params.command and params.pid is None:
        params = params.model_copy(update={"command": (sys.executable, str(EXAMPLE))})
    return Explained(params)
