"""Steps of the devices notebook and of ``hwdiag devices``: parameters in, a study to walk through, files out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

from hwdiag.devices import show
from hwdiag.devices import techniques_show as worth
from hwdiag.devices.achieved import achieved
from hwdiag.devices.claims import judged
from hwdiag.devices.emit import torch_settings
from hwdiag.devices.model import Study
from hwdiag.devices.others import others
from hwdiag.devices.recommend import choices
from hwdiag.devices.study import Measuring
from hwdiag.experiment.campaign import Progress
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.parameters.devices import DevicesParams
from hwdiag.parameters.diagnosis import Params, interpreter, load_topic
from hwdiag.record.model import Record
from hwdiag.report.progress import notebook_progress
from hwdiag.report.section import Section
from hwdiag.workbook.cells import replayed
from hwdiag.workbook.params import ChosenParameters
from hwdiag.workbook.records import chosen_params, record_of, replayed_study, save, told

load = partial(load_topic, DevicesParams)
"""Returns the parameters, checked. Raises ``UsageError`` for an unknown name, or a wrong value."""


def parameters(namespace: Mapping[str, Any]) -> ChosenParameters[DevicesParams]:
    """Return what the notebook's first cells set, checked; ``namespace`` is its ``globals()``."""
    return chosen_params(namespace, "devices", DevicesParams, load)


class Devices:
    """One study, to be walked through: ``devices``, ``profile``, ``precision``, ``techniques`` ... ``save``."""

    def __init__(self, params: DevicesParams, progress: Progress = lambda text, share: None) -> None:
        """Raises ``UsageError`` where there is no such interpreter."""
        self.params = params
        self._measuring = Measuring(
            interpreter(Params(python=params.python)),
            read_host(Root.live()),
            budget=params.budget,
            nets=params.nets,
            minutes=params.minutes,
            min_effect=params.min_effect / 100,
            seed=params.seed,
            timeout_s=params.child_timeout,
            progress=progress,
        )

    # Each step is measured once, when it is first asked for; those before it come first.

    @cached_property
    def found(self) -> Study:
        return self._measuring.study

    @cached_property
    def profiled(self) -> Study:
        return self._measuring.profile()

    @cached_property
    def tried(self) -> Study:
        _ = self.profiled
        return self._measuring.techniques()

    @cached_property
    def searched(self) -> Study:
        _ = self.tried
        return self._measuring.batches()

    @cached_property
    def done(self) -> Study:
        _ = self.searched
        return self._measuring.targets()

    def devices(self) -> Section:
        """Return the section on the devices that there are to compare."""
        return show.devices(self.found)

    def profile(self) -> Section:
        """Return the section on the speed of each kernel, and on its share of what the device reaches."""
        return show.profile(self.profiled)

    def speedups(self) -> Section:
        """Return the section on the speed of each other device over the CPU's."""
        return show.speedups(self.profiled)

    def precision(self) -> Section:
        """Return the section on the speed and the error of each precision."""
        return show.precision(self.profiled)

    def techniques(self) -> Section:
        """Return the section on the gain of each technique."""
        return worth.techniques(self.tried)

    def batches(self) -> Section:
        """Return the section on the batch sizes that fit, and on the fastest."""
        return worth.batches(self.searched)

    def targets(self) -> Section:
        """Return the section on the guide's targets."""
        return worth.targets(self.done)

    def claims(self) -> Section:
        """Return the section on the guide's claims, and on how they hold here."""
        return worth.claims(judged(self.done))

    def settings(self) -> Section:
        """Return the section on what is worth having in a script."""
        return worth.settings(self.done, choices(self.done))

    @cached_property
    def record(self) -> Record:
        """Return the study as a record."""
        host, params = self._measuring.host, self.params.model_dump(mode="json")
        said = (*achieved(self.done), *others(self.done))
        return record_of("devices", self.done, host=host, verdict=self.settings().verdict, params=params, said=said)

    def save(self) -> str:
        """Write the record and settings.py under outputs/; says where. Raises ``HwdiagError`` where that fails."""
        return told(*save(self.record, [torch_settings(self.done, choices(self.done))]))


class ReplayedDevices(Devices):
    """A recorded study, shown in place of a new one."""

    def __init__(self) -> None:
        """Raises ``UsageError`` where there is no record of one."""
        self.params = DevicesParams()
        study, self.record, self._folder = replayed_study("devices", Study)
        self.found = self.profiled = self.tried = self.searched = self.done = study

    def save(self) -> str:
        return told(self.record, self._folder, self.settings().verdict)


def start(choice: ChosenParameters[DevicesParams]) -> Devices:
    """Begin a study; with HWDIAG_REPLAY set, walk through the one recorded there instead."""
    if replayed() is not None:
        return ReplayedDevices()
    return Devices(choice.params, notebook_progress())
