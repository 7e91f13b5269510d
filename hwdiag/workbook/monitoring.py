"""What the monitor notebook and ``hwdiag monitor`` call: parameters in, a recording to walk through."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from hwdiag.advise.model import Check, Finding
from hwdiag.advise.watching import answers
from hwdiag.emit.settings import File
from hwdiag.home import home
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.host.sampling import Sampler
from hwdiag.host.sampling.source import Column
from hwdiag.measure.monitor import See, monitor
from hwdiag.measure.monitored import Monitored
from hwdiag.measure.watch_params import MonitorParams
from hwdiag.model import Value
from hwdiag.params import load_topic
from hwdiag.record.store import create_folder, folder_name, read_value, write_file
from hwdiag.show import monitor as show
from hwdiag.show.monitor import notebook_live
from hwdiag.show.plots._timeline import timeline
from hwdiag.show.section import Section
from hwdiag.words import now
from hwdiag.workbook.cells import given_parameters, replay_folder, replayed
from hwdiag.workbook.params import Chosen

FILE, SAMPLES, FIGURE = "monitor.json", "monitor.parquet", "monitor.svg"
NOTEBOOK_S = 10.0
"""How long the notebook watches where it is not told."""


def load(given: Mapping[str, Any]) -> MonitorParams:
    """Return the parameters, checked. Raises ``UsageError`` for an unknown name, or a wrong value."""
    return load_topic(MonitorParams, given)


def parameters(namespace: Mapping[str, Any]) -> Chosen[MonitorParams]:
    """Check the parameters that the notebook's first cells set.

    Args:
        namespace: the notebook's ``globals()``.

    Raises:
        UsageError: an unknown parameter or a wrong value.
    """
    if replayed() is not None:
        return Chosen(MonitorParams())
    return Chosen(load(given_parameters(namespace)))


class Recording(Value):
    """What is kept beside the samples."""

    monitored: Monitored
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]


class Monitor:
    """One recording, to be walked through: ``columns``, ``run``, ``over_time``, ``findings``, ``costs``, ``save``."""

    def __init__(self, params: MonitorParams, folder: Path | None = None) -> None:
        """``folder``: where everything is written; None makes one under outputs/.

        Raises:
            HwdiagError: it cannot be written to.
        """
        self.params = params
        self.started_at = now()
        self.name = folder_name(params.host, os.uname().nodename)
        self.sampler: Sampler | None = Sampler(Root.live())
        self.folder = folder or create_folder(home() / "outputs", self.name, self.started_at)
        self.done: Recording | None = None

    @property
    def samples(self) -> Path:
        """The Parquet file."""
        return self.folder / SAMPLES

    def watch(
        self, seconds: float | None, see: Callable[[Sequence[Column]], See], stdio: tuple[int, int, int] | None = None
    ) -> Recording:
        """Watch now; ``see`` makes, of the columns, what is called with each sample.

        Raises:
            HwdiagError: something could not be written, or the command could not be started.
        """
        assert self.sampler is not None
        host = read_host(Root.live())
        try:
            monitored, _ = monitor(
                self.sampler,
                self.samples,
                host,
                name=self.name,
                hz=self.params.hz,
                seconds=seconds,
                argv=self.params.command or (),
                stdio=stdio,
                see=see(self.sampler.columns),
            )
        finally:
            self.sampler.close()
            self.sampler = None
        found = answers(monitored, self.samples, host)
        self.done = Recording(
            monitored=monitored,
            findings=tuple(a for a in found if isinstance(a, Finding)),
            checks=tuple(a for a in found if isinstance(a, Check)),
        )
        return self.done

    @cached_property
    def recording(self) -> Recording:
        """Made once, when it is first asked for."""
        return self.done or self.watch(
            self.params.seconds or (None if self.params.command else NOTEBOOK_S), notebook_live
        )

    def run(self) -> Section:
        """What does the machine do?"""
        return show.summary(self.recording.monitored, self.recording.findings)

    def over_time(self) -> Section:
        """When?"""
        return show.over_time(self.recording.monitored, self.samples)

    def findings(self) -> Section:
        """What is wrong?"""
        return show.findings((*self.recording.findings, *self.recording.checks))

    def costs(self) -> Section:
        """What did the watching cost, and what is missing?"""
        return show.costs(self.recording.monitored)

    def save(self) -> str:
        """Write what was found beside the samples; says where.

        Raises:
            HwdiagError: it could not be written.
        """
        write_file(self.folder, File(path=FILE, text=self.recording.model_dump_json(indent=1) + "\n", what="summary"))
        figure = timeline(self.recording.monitored, self.samples)
        if figure is not None:
            write_file(self.folder, File(path=FIGURE, text=figure.svg + "\n", what="figure"))
        return said(self.recording, self.folder)


def said(recording: Recording, folder: Path) -> str:
    """The verdict, and where everything is."""
    where = folder.relative_to(home()) if folder.is_relative_to(home()) else folder
    files = (("samples", SAMPLES), ("summary", FILE), ("figure", FIGURE))
    lines = [f"{name + ':':<10}{where}/{file}" for name, file in files if (folder / file).exists()]
    return "\n".join([show.verdict(recording.monitored, recording.findings), *lines])


class Replayed(Monitor):
    """A recording that was made before, shown in place of a new one."""

    def __init__(self, folder: Path) -> None:
        """Raises ``UsageError`` where there is none."""
        self.folder = folder
        self.done = read_value(folder / FILE, Recording, "a recording")
        self.params = MonitorParams(hz=self.done.monitored.hz)

    def save(self) -> str:
        return said(self.recording, Path("outputs/example/monitor"))


def start(choice: Chosen[MonitorParams]) -> Monitor:
    """Begin a recording; with HWDIAG_REPLAY set, walk through the one in its folder ``monitor`` instead."""
    return Replayed(replay_folder() / "monitor") if replayed() is not None else Monitor(choice.params)
