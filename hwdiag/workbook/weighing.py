"""What the devices notebook and ``hwdiag devices`` call: parameters in, a study to walk through, files out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from hwdiag.devices.model import Study
from hwdiag.devices.params import DevicesParams
from hwdiag.devices.promises import judged
from hwdiag.devices.recommend import choices
from hwdiag.devices.study import Measuring
from hwdiag.emit.torch_settings import torch_settings
from hwdiag.errors import HwdiagError
from hwdiag.home import home
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.measure.campaign import Progress
from hwdiag.params import Params, interpreter, load_topic
from hwdiag.record.store import create_folder, folder_name, read_value, write_file
from hwdiag.show import devices as show
from hwdiag.show import techniques as worth
from hwdiag.show.progress import notebook_progress
from hwdiag.show.section import Section
from hwdiag.workbook.cells import given_parameters, replay_folder, replayed
from hwdiag.workbook.params import Chosen

FILE = "devices.json"


def load(given: Mapping[str, Any]) -> DevicesParams:
    """Return the parameters, checked. Raises ``UsageError`` for an unknown name, or a wrong value."""
    return load_topic(DevicesParams, given)


def parameters(namespace: Mapping[str, Any]) -> Chosen[DevicesParams]:
    """Check the parameters that the notebook's first cells set.

    Args:
        namespace: the notebook's ``globals()``.

    Raises:
        UsageError: an unknown parameter or a wrong value.
    """
    if replayed() is not None:
        return Chosen(DevicesParams())
    return Chosen(load(given_parameters(namespace)))


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
        """What is there to compare?"""
        return show.devices(self.found)

    def profile(self) -> Section:
        """How fast is each kernel, of what the device reaches?"""
        return show.profile(self.profiled)

    def speedups(self) -> Section:
        """How many times faster than the CPU is each other device?"""
        return show.speedups(self.profiled)

    def precision(self) -> Section:
        """Which precision pays, and what does it cost in accuracy?"""
        return show.precision(self.profiled)

    def techniques(self) -> Section:
        """What is each technique worth?"""
        return worth.techniques(self.tried)

    def batches(self) -> Section:
        """How large a batch fits, and which is fastest?"""
        return worth.batches(self.searched)

    def targets(self) -> Section:
        """Does it reach what the guide wants?"""
        return worth.targets(self.done)

    def promises(self) -> Section:
        """What was promised, and what of it holds here?"""
        return worth.promises(judged(self.done))

    def settings(self) -> Section:
        """What is worth having in a script?"""
        return worth.settings(choices(self.done))

    def save(self) -> str:
        """Write the study and settings.py under outputs/; says where."""
        study = self.done
        folder = create_folder(home() / "outputs", folder_name(self.params.host, os.uname().nodename), study.started_at)
        try:
            (folder / FILE).write_text(study.model_dump_json(indent=1, exclude_defaults=True) + "\n", encoding="utf-8")
        except OSError as error:
            raise HwdiagError(f"cannot write {folder / FILE}: {error.strerror}") from None
        emitted = write_file(folder, torch_settings(study, choices(study)))
        where = folder.relative_to(home())
        return f"{self.settings().verdict}\n  record   {where / FILE}\n  settings {where / emitted.path}"


class Replayed(Devices):
    """A recorded study, shown in place of a new one."""

    def __init__(self, path: Path) -> None:
        """Raises ``UsageError`` where there is no record."""
        self.params = DevicesParams()
        self.found = self.profiled = self.tried = self.searched = self.done = read(path)

    def save(self) -> str:
        return f"{self.settings().verdict}\n  record   {FILE}"


def start(choice: Chosen[DevicesParams]) -> Devices:
    """Begin a study; with HWDIAG_REPLAY set, walk through the one recorded there instead."""
    if replayed() is not None:
        return Replayed(replay_folder() / FILE)
    return Devices(choice.params, notebook_progress())


def read(path: Path) -> Study:
    """A recorded study.

    Raises:
        UsageError: there is none, or it is not one.
    """
    return read_value(path, Study, "a study of devices")
