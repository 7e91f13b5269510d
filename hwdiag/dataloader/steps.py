"""Steps of the dataloader notebook and of ``hwdiag dataloader``: parameters in, a run to walk through, files out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.core.files import File
from hwdiag.core.outside import user_path
from hwdiag.dataloader import cache_show, show
from hwdiag.dataloader import rules as advise
from hwdiag.dataloader.budget import BUDGETS, Data
from hwdiag.dataloader.child import Feeder
from hwdiag.dataloader.emit import feeding_files
from hwdiag.dataloader.model import Feed
from hwdiag.dataloader.pictures import cache_home, synthetic_set
from hwdiag.dataloader.run import DataloaderRun
from hwdiag.experiment.campaign import Progress
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.parameters.dataloader import FeedParams
from hwdiag.parameters.diagnosis import Params, interpreter, load_topic
from hwdiag.record.model import Record
from hwdiag.report.progress import notebook_progress
from hwdiag.report.section import Section
from hwdiag.workbook.cells import replayed
from hwdiag.workbook.params import ChosenParameters
from hwdiag.workbook.records import chosen_params, record_of, replayed_study, save, told


def load(given: Mapping[str, Any]) -> FeedParams:
    """Return the parameters, checked. Raises ``UsageError`` for an unknown name, or a wrong value."""
    params = load_topic(FeedParams, given)
    file = params.dataset_file
    if file is not None and not (file.endswith(".py") and user_path(file).is_file()):
        raise UsageError(f"parameter dataset_file: there is no Python file {file}")
    return params


def parameters(namespace: Mapping[str, Any]) -> ChosenParameters[FeedParams]:
    """Return what the notebook's first cells set, checked; ``namespace`` is its ``globals()``."""
    return chosen_params(namespace, "dataloader", FeedParams, load)


class Feeding:
    """One run, to be walked through: ``storage``, ``decoding``, ``memory``, ``search``, ``chosen``, ``caches``,
    ``plan`` and ``save``.

    Each does the steps that it needs, once.
    """

    def __init__(self, params: FeedParams, progress: Progress = lambda text, share: None) -> None:
        """Raises ``UsageError`` where there is no such interpreter."""
        self.params = params
        self.python = interpreter(Params(python=params.python))
        self.progress = progress
        self._done: set[str] = set()

    @cached_property
    def host(self) -> Host:
        """Return the facts of this host."""
        return read_host(Root.live())

    @cached_property
    def run(self) -> DataloaderRun:
        """Return the run, made once, with a synthetic set of pictures where none was given."""
        params = self.params
        budget = BUDGETS[params.budget]
        if params.minutes is not None:
            budget = budget.model_copy(update={"total_s": 60 * params.minutes})
        self._skipped = tempfile.NamedTemporaryFile(prefix="hwdiag-skipped-")  # noqa: SIM115  as long as the run
        return DataloaderRun(
            self.python,
            self._data(),
            self.host,
            budget,
            batch_size=params.batch_size,
            batch_sizes=params.batch_sizes,
            step_s=params.step_ms / 1e3 if params.step_ms else None,
            min_effect=params.min_effect / 100,
            timeout_s=params.child_timeout,
            seed=params.seed,
            progress=self.progress,
        )

    def _data(self) -> Data:
        params = self.params
        kept = str(user_path(params.cache_dir).absolute() if params.cache_dir else cache_home())
        if params.dataset_file is not None:
            path = user_path(params.dataset_file).absolute()
            return Data(f"build_dataset() of {path.name}", str(path.parent), file=str(path), cache_folder=kept)
        pictures = partial(Data, size=params.picture_size, broken=self._skipped.name, cache_folder=kept)
        if params.data_dir is not None:
            folder = user_path(params.data_dir).absolute()  # not looked at here: it may hang
            return pictures(f"pictures in {folder}", str(folder))
        self.progress(f"making {params.pictures} pictures", 0)
        try:
            folder = synthetic_set(params.pictures, seed=params.seed)
        except OSError as error:
            raise HwdiagError(f"the set of pictures could not be written: {error}") from None
        words = f"{params.pictures} pictures made on the spot (seed {params.seed})"
        return pictures(words, str(folder))

    def _upto(self, name: str, /) -> Feed:
        """Return the study with all steps up to this one done."""
        steps: dict[str, Callable[[Feeder], None]] = {
            "look": self.run.look,
            "read": self.run.read,
            "decode": self.run.decode,
            "hold": self.run.hold,
            "search": self.run.search,
            "round_off": self.run.round_off,
        }
        with Feeder(self.python) as feeder:
            for step, work in steps.items():
                if step not in self._done:
                    work(feeder)
                    self._done.add(step)
                if step == name:
                    break
            self.run.given_s += feeder.given_s
        return self.run.feed()

    @cached_property
    def feed(self) -> Feed:
        """Return the whole study."""
        return self._upto("round_off")

    def storage(self) -> Section:
        """Return the section on the data's storage, and on how fast it is read."""
        return show.storage(self._upto("read"))

    def decoding(self) -> Section:
        """Return the section on the decoders and their speed."""
        return show.decoding(self._upto("decode"))

    def memory(self) -> Section:
        """Return the section on the memory that a loader will hold, and on what fits."""
        return show.memory(self._upto("hold"))

    def search(self) -> Section:
        """Return the section on the fastest setting."""
        return show.search(self._upto("search"))

    def chosen(self) -> Section:
        """Return the section on the speed and the memory of the chosen setting."""
        return show.chosen(self.feed)

    def caches(self) -> Section:
        """Return the section on the caches, and on the one that pays."""
        return cache_show.caches(self.feed)

    def plan(self) -> Section:
        """Return the section on what to do, in order."""
        return show.plan(self.feed, advise.plan(self.feed))

    @property
    def files(self) -> list[File]:
        """Return the files to write."""
        return feeding_files(self.feed, advise.plan(self.feed))

    def snippet(self) -> str:
        """Return the code of the DataLoader, ready to copy."""
        return next((file.text for file in self.files if file.path == "dataloader.py"), advise.verdict(self.feed))

    @cached_property
    def record(self) -> Record:
        """Return the study as a record."""
        params = self.params.model_dump(mode="json")
        return record_of("dataloader", self.feed, host=self.host, verdict=advise.verdict(self.feed), params=params)

    def save(self) -> str:
        """Write the record and the files under outputs/; says where.

        Raises:
            HwdiagError: something could not be written.
        """
        return told(*save(self.record, self.files))


class ReplayedDataloader(Feeding):
    """A recorded run, shown in place of one."""

    def __init__(self) -> None:
        """Raises ``UsageError`` where there is no record of one."""
        self.params = FeedParams()
        self.feed, self.record, self._folder = replayed_study("dataloader", Feed)

    def _upto(self, _name: str, /) -> Feed:
        return self.feed

    def save(self) -> str:
        return told(self.record, self._folder, advise.verdict(self.feed))


def start(choice: ChosenParameters[FeedParams]) -> Feeding:
    """Begin a run; with HWDIAG_REPLAY set, walk through the one recorded there instead."""
    if replayed() is not None:
        return ReplayedDataloader()
    return Feeding(choice.params, notebook_progress())
