"""Steps of the compatibility notebook and of ``hwdiag compat``: parameters in, a check to walk through, a file out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from hwdiag.compat import show
from hwdiag.compat.advice import consult
from hwdiag.compat.check import Progress, chosen, survey
from hwdiag.compat.model import Interpreter, Survey
from hwdiag.compat.packages import list_packages
from hwdiag.compat.static import LEVELS, Content, contains
from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.parameters.compat import CheckParams
from hwdiag.parameters.diagnosis import Params, interpreter, load_topic
from hwdiag.process.model import Software
from hwdiag.process.preflight import preflight
from hwdiag.process.software import probe_software
from hwdiag.record.model import Record
from hwdiag.report.progress import notebook_progress
from hwdiag.report.section import Section
from hwdiag.workbook.cells import replayed
from hwdiag.workbook.params import ChosenParameters
from hwdiag.workbook.records import chosen_params, record_of, replayed_study, save, sorted_by_kind, told

load = partial(load_topic, CheckParams)
"""Returns the parameters, checked. Raises ``UsageError`` for an unknown name, or a wrong value."""


def parameters(namespace: Mapping[str, Any]) -> ChosenParameters[CheckParams]:
    """Return what the notebook's first cells set, checked; ``namespace`` is its ``globals()``."""
    return chosen_params(namespace, "compat", CheckParams, load)


class CompatCheck:
    """One check, to be walked through: ``interpreter``, ``run``, ``crashes``, ``environment``, ``save``."""

    def __init__(self, params: CheckParams, progress: Progress = lambda text, share: None) -> None:
        """Raises ``UsageError`` where there is no such interpreter."""
        self.params = params
        self.python = interpreter(Params(python=params.python))
        self.progress = progress
        self.survey: Survey | None = None

    @cached_property
    def host(self) -> Host:
        """Return the facts of this host."""
        return read_host(Root.live())

    def interpreter(self) -> Section:
        """Return the section on the packages with native code."""
        return show.interpreter(self.found())

    def found(self) -> Interpreter:
        return list_packages(self.python, timeout_s=self.params.child_timeout)

    def checked(self) -> Survey:
        """Return the check's result, after running it if need be."""
        if self.survey is None:
            done = survey(
                self.python,
                packages=self.params.packages,
                timeout_s=self.params.child_timeout,
                cpu=self.host.cpu.model,
                progress=self.progress,
            )
            findings, checks = sorted_by_kind(preflight(self.host, software=self.software(done)))
            self.survey = done.model_copy(update={"findings": tuple(findings), "checks": tuple(checks)})
        return self.survey

    def software(self, done: Survey) -> Software | None:
        """Return the PyTorch that was checked; None where it was not checked, or did not come up."""
        runs = any(r.package == "torch" and r.stage == "import" and r.outcome.ok for r in done.results)
        return probe_software(self.python, timeout_s=self.params.child_timeout) if runs else None

    def contents(self, level: str) -> list[Content]:
        """Return the instructions above a level in the packages' shared objects, half a second for each object.

        Raises:
            UsageError: the level is not known.
            HwdiagError: the packages could not be listed.
        """
        if level not in LEVELS:
            raise UsageError(f"unknown level {level!r} (known: {', '.join(LEVELS)})")
        found = self.found()
        if not found.outcome.ok:
            raise HwdiagError(f"the packages of {self.python} could not be listed: {found.outcome.detail}")
        objects = [(p.name, o) for p in chosen(found, self.params.packages) for o in p.shared_objects]
        contents = []
        for n, (name, path) in enumerate(objects):
            self.progress(name, n / len(objects))
            contents.append(contains(Path(path), level, seconds=0.5))
        return contents

    def run(self) -> Section:
        """Return the section on the packages that import and work, and on those that fail."""
        return show.results(self.checked())

    def crashes(self) -> Section:
        """Return the section on what killed each package that died."""
        return show.crashes(self.checked())

    def environment(self) -> Section:
        """Return the section on variables of the environment that mislead the packages."""
        return show.environment(self.checked())

    @cached_property
    def record(self) -> Record:
        """Return the check as a record."""
        done, params = self.checked(), self.params.model_dump(mode="json")
        return record_of(
            "compat",
            done,
            host=self.host,
            verdict=show.verdict(done),
            params=params,
            said=(*consult(done), *done.findings, *done.checks),
        )

    def save(self) -> str:
        """Write the record under outputs/; says where. Raises ``HwdiagError`` where that fails."""
        return told(*save(self.record))


class ReplayedCheck(CompatCheck):
    """A recorded check, shown in place of a run."""

    def __init__(self) -> None:
        """Raises ``UsageError`` where there is no record of one."""
        self.params = CheckParams()
        self.python = sys.executable
        self.survey, self.record, self._folder = replayed_study("compat", Survey)

    def found(self) -> Interpreter:
        return self.checked().interpreter

    def save(self) -> str:
        return told(self.record, self._folder, show.verdict(self.checked()))


def start(choice: ChosenParameters[CheckParams]) -> CompatCheck:
    """Begin a check; with HWDIAG_REPLAY set, walk through the one recorded there instead."""
    if replayed() is not None:
        return ReplayedCheck()
    return CompatCheck(choice.params, notebook_progress())
