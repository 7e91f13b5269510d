"""Steps of the monitor notebook and of ``hwdiag monitor``: parameters in, a recording to walk through."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from hwdiag.core.files import EmittedFile, File
from hwdiag.core.finding import Check, Finding
from hwdiag.core.home import home
from hwdiag.core.text import now
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.host.sampling import Sampler
from hwdiag.host.source import Column
from hwdiag.monitor import show
from hwdiag.monitor.live import notebook_live
from hwdiag.monitor.measure import See, monitor
from hwdiag.monitor.rules import answers
from hwdiag.monitor.study import SAMPLES, Recording
from hwdiag.monitor.timeline import timeline
from hwdiag.parameters.diagnosis import load_topic
from hwdiag.parameters.watching import MonitorParams
from hwdiag.process.observation.marks import Marks
from hwdiag.record.model import Record
from hwdiag.record.store import create_folder, folder_name
from hwdiag.report.section import Section
from hwdiag.workbook.cells import given_parameters, one_line_interrupts, replayed
from hwdiag.workbook.params import ChosenParameters
from hwdiag.workbook.records import record_of, replayed_study, save, told

FIGURE = "monitor.svg"
NOTEBOOK_S = 10.0
"""How long the notebook watches where it is not told."""


load = partial(load_topic, MonitorParams)
"""Returns the parameters, checked. Raises ``UsageError`` for an unknown name, or a wrong value."""


def parameters(namespace: Mapping[str, Any]) -> ChosenParameters[MonitorParams]:
    """Check the parameters that the notebook's first cells set.

    Args:
        namespace: the notebook's ``globals()``.

    Raises:
        UsageError: an unknown parameter or a wrong value.
    """
    one_line_interrupts()
    if replayed() is not None:
        return ChosenParameters(ReplayedMonitor().params)
    return ChosenParameters(load(given_parameters(namespace)))


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
        self.host: Host | None = None

    @property
    def samples(self) -> Path:
        """Return the path of the Parquet file."""
        return self.folder / SAMPLES

    def watch(
        self,
        seconds: float | None,
        see: Callable[[Sequence[Column], Host, Marks], See],
        stdio: tuple[int, int, int] | None = None,
    ) -> Recording:
        """Watch now; ``see`` makes, of the columns, the host and the marks as they come, what is called with each
        sample.

        Raises:
            HwdiagError: something could not be written, or the command could not be started.
        """
        assert self.sampler is not None
        self.host = host = read_host(Root.live())
        marks = Marks()
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
                see=see(self.sampler.columns, host, marks),
                marks=marks,
            )
        finally:
            self.sampler.close()
            self.sampler = None
        found = answers(monitored, self.samples, host)
        self.done = Recording(
            started_at=monitored.started_at,
            monitored=monitored,
            findings=tuple(a for a in found if isinstance(a, Finding)),
            checks=tuple(a for a in found if isinstance(a, Check)),
        )
        return self.done

    @cached_property
    def recording(self) -> Recording:
        """Return the recording, made once, when it is first asked for."""
        return self.done or self.watch(
            self.params.seconds or (None if self.params.command else NOTEBOOK_S), notebook_live
        )

    def run(self) -> Section:
        """Return the section on what the machine did."""
        return show.summary(self.recording.monitored, self.recording.answers)

    def over_time(self) -> Section:
        """Return the section on when it did that."""
        return show.over_time(self.recording.monitored, self.samples)

    def findings(self) -> Section:
        """Return the section on what is wrong."""
        return show.findings(self.recording.answers)

    def costs(self) -> Section:
        """Return the section on the cost of the watching, and on what is missing."""
        return show.costs(self.recording.monitored)

    @cached_property
    def record(self) -> Record:
        """Return the recording as a record."""
        done = self.recording
        assert self.host is not None
        verdict = show.verdict(done.monitored, done.answers)
        said: list[Finding | Check] = [*done.findings, *done.checks]
        params = self.params.model_dump(mode="json")
        return record_of("monitor", done, host=self.host, verdict=verdict, params=params, said=said, name=self.name)

    def save(self) -> str:
        """Write what was found beside the samples; says where.

        Raises:
            HwdiagError: it could not be written.
        """
        record, figure = self.record, timeline(self.recording.monitored, self.samples)
        files: list[File | EmittedFile] = [EmittedFile(path=SAMPLES, what="The samples")]
        if figure is not None:
            files.append(File(path=FIGURE, text=figure.svg + "\n", what="What the machine did over time"))
        return told(*save(record, files, self.folder))


class ReplayedMonitor(Monitor):
    """A recording that was made before, shown in place of a new one."""

    def __init__(self) -> None:
        """Raises ``UsageError`` where there is none."""
        self.done, self.record, self.folder = replayed_study("monitor", Recording)
        self.params = MonitorParams(hz=self.done.monitored.hz, command=self.done.monitored.command or None)

    def save(self) -> str:
        done = self.recording
        return told(self.record, self.folder, show.verdict(done.monitored, done.answers))


def start(choice: ChosenParameters[MonitorParams]) -> Monitor:
    """Begin a recording; with HWDIAG_REPLAY set, walk through the one recorded there instead."""
    return ReplayedMonitor() if replayed() is not None else Monitor(choice.params)
