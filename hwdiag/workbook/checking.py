"""What the compatibility notebook and ``hwdiag check`` call: parameters in, a check to walk through, a file out."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwdiag.compat.check import Progress, chosen, survey
from hwdiag.compat.model import Interpreter, Survey
from hwdiag.compat.packages import list_packages
from hwdiag.compat.params import CheckParams
from hwdiag.compat.static import LEVELS, Content, contains
from hwdiag.errors import HwdiagError, UsageError
from hwdiag.home import home
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.params import Params, interpreter, load_topic
from hwdiag.record.store import create_folder, folder_name, read_value
from hwdiag.show import compat as show
from hwdiag.show.progress import notebook_progress
from hwdiag.show.section import Section
from hwdiag.workbook.cells import given_parameters, replay_folder, replayed
from hwdiag.workbook.params import Chosen

FILE = "compatibility.json"


def load(given: Mapping[str, Any]) -> CheckParams:
    """Return the parameters, checked. Raises ``UsageError`` for an unknown name, or a wrong value."""
    return load_topic(CheckParams, given)


def parameters(namespace: Mapping[str, Any]) -> Chosen[CheckParams]:
    """Check the parameters that the notebook's first cells set.

    Args:
        namespace: the notebook's ``globals()``.

    Raises:
        UsageError: an unknown parameter or a wrong value.
    """
    if replayed() is not None:
        return Chosen(CheckParams())
    return Chosen(load(given_parameters(namespace)))


class Check:
    """One check, to be walked through: ``interpreter``, ``run``, ``crashes``, ``environment``, ``save``."""

    def __init__(self, params: CheckParams, progress: Progress = lambda text, share: None) -> None:
        """Raises ``UsageError`` where there is no such interpreter."""
        self.params = params
        self.python = interpreter(Params(python=params.python))
        self.progress = progress
        self.survey: Survey | None = None

    def interpreter(self) -> Section:
        """Which packages have native code?"""
        return show.interpreter(self.found())

    def found(self) -> Interpreter:
        return list_packages(self.python, timeout_s=self.params.child_timeout)

    def checked(self) -> Survey:
        """The check's result; made now if it is not there."""
        if self.survey is None:
            self.survey = survey(
                self.python,
                packages=self.params.packages,
                timeout_s=self.params.child_timeout,
                cpu=read_host(Root.live()).cpu.model,
                progress=self.progress,
            )
        return self.survey

    def contents(self, level: str) -> list[Content]:
        """What the packages' shared objects contain above a level, half a second for each.

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
        """Do they import and work?"""
        return show.results(self.checked())

    def crashes(self) -> Section:
        """What kills the ones that die?"""
        return show.crashes(self.checked())

    def environment(self) -> Section:
        """Does the environment mislead them?"""
        return show.environment(self.checked())

    def save(self) -> str:
        """Write the result under outputs/; says where."""
        done = self.checked()
        folder = create_folder(home() / "outputs", folder_name(self.params.host, os.uname().nodename), done.started_at)
        path = folder / FILE
        try:
            path.write_text(done.model_dump_json(indent=1, exclude_defaults=True) + "\n", encoding="utf-8")
        except OSError as error:
            raise HwdiagError(f"cannot write {path}: {error.strerror}") from None
        return f"{show.verdict(done)}\n  record {path.relative_to(home())}"


class Replayed(Check):
    """A recorded check, shown in place of a run."""

    def __init__(self, path: Path) -> None:
        """Raises ``UsageError`` where there is no record."""
        self.params = CheckParams()
        self.python = sys.executable
        self.path = path
        self.survey = read(path)

    def found(self) -> Interpreter:
        return self.checked().interpreter

    def save(self) -> str:
        return f"{show.verdict(self.checked())}\n  record {FILE}"


def start(choice: Chosen[CheckParams]) -> Check:
    """Begin a check; with HWDIAG_REPLAY set, walk through the one recorded there instead."""
    if replayed() is not None:
        return Replayed(replay_folder() / FILE)
    return Check(choice.params, notebook_progress())


def read(path: Path) -> Survey:
    """A recorded check.

    Raises:
        UsageError: there is none, or it is not one.
    """
    return read_value(path, Survey, "a compatibility check")
