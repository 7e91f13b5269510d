"""Steps of the compare notebook and of ``hwdiag compare``: locations in, records side by side out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from hwdiag.catalogue.parts import find_part
from hwdiag.compare import compare, show
from hwdiag.core.errors import UsageError
from hwdiag.core.home import home
from hwdiag.core.outside import user_path
from hwdiag.parameters.compare import CompareParams
from hwdiag.parameters.diagnosis import load_topic
from hwdiag.record import index
from hwdiag.record.differences import differences
from hwdiag.record.row import RecordRow
from hwdiag.report.section import Section
from hwdiag.workbook.cells import given_parameters, replay_folder, replay_path, replayed
from hwdiag.workbook.params import ChosenParameters


def index_of(locations: Sequence[str]) -> Path:
    """Return the path of the kept table of these locations."""
    told = "\n".join(name if "://" in name else str(Path(name).resolve()) for name in locations)
    return home() / "outputs" / ".index" / f"{sha256(told.encode()).hexdigest()[:16]}.parquet"


load = partial(load_topic, CompareParams)
"""Returns the parameters, checked. Raises ``UsageError`` for an unknown name, or a wrong value."""


def parameters(namespace: Mapping[str, Any]) -> ChosenParameters[CompareParams]:
    """Check the parameters that the notebook's first cells set.

    Args:
        namespace: the notebook's ``globals()``.

    Raises:
        UsageError: an unknown parameter or a wrong value.
    """
    if replayed() is not None:
        both = (replay_path(), replay_folder() / "earlier")  # those that lie beside are of other topics and machines
        records = tuple(os.path.relpath(path, home()) for path in both if path.exists())
        return ChosenParameters(CompareParams(records=records, parts=("epyc-9654", "xeon-8490h")))
    return ChosenParameters(load(given_parameters(namespace)))


class RecordComparison:
    """Records side by side, to be walked through: ``overview``, ``differences``, ``speeds``, ``histories``."""

    def __init__(self, params: CompareParams, *, keep: Path | None = None) -> None:
        """``keep``: where the index is kept; None takes a file in outputs/.index.

        Raises:
            UsageError: there is no such part, or nothing at a location.
        """
        self.params = params
        self.parts = [find_part(name) for name in params.parts]
        outputs = home() / "outputs"
        here = [name if "://" in name else str(place(name)) for name in params.records] or [str(outputs)]
        self.table = index.build_index(here, keep or index_of(here))
        chosen = [r for r in index.rows(self.table) if not params.hosts or r.name in params.hosts]
        if not params.records:  # the project's own example is shown where there is nothing else
            example = f"{outputs / 'example'}{os.sep}"
            chosen = [r for r in chosen if not r.location.startswith(example)] or chosen
        if not chosen:
            refused = index.refused(self.table)
            why = f"{refused[0].location}: {refused[0].why}" if refused else f"no record of {', '.join(params.hosts)}"
            raise UsageError(f"nothing to compare: {why}")
        self.records = sorted(chosen, key=lambda r: (r.name, r.started_at))

    @cached_property
    def newest(self) -> list[RecordRow]:
        """Return the last record of each host, or all records where there is one host alone."""
        last = compare.newest(self.records)
        return last if len(last) > 1 else self.records[-show.SHOWN :]

    @cached_property
    def history(self) -> tuple[compare.History, ...]:
        """Return each host over time."""
        return compare.histories(self.records, self.params.min_effect / 100)

    def overview(self) -> Section:
        """Return the section on the records that there are to compare."""
        return show.overview(self.records, index.refused(self.table))

    def differences(self) -> Section:
        """Return the section on facts and settings that differ."""
        some = self.newest[: show.SHOWN]
        return show.differing(some, differences(some))

    def speeds(self) -> Section:
        """Return the section on the speed of each workload on each record."""
        some = self.newest[: show.SHOWN]
        return show.speeds(some, compare.lines(some), self.parts)

    def histories(self) -> Section:
        """Return the section on hosts that became slower or faster."""
        return show.histories(self.history)

    def as_dict(self) -> dict[str, Any]:
        """Return the whole comparison as data for programs."""
        some = self.newest[: show.SHOWN]
        return {
            "records": [r.model_dump(exclude={"facts"}) for r in some],
            "refused": [r.model_dump() for r in index.refused(self.table)],
            "differences": [d.model_dump() for d in differences(some)],
            "speeds": [line.model_dump() for line in compare.lines(some)],
            "histories": [{**h.model_dump(), "verdict": h.verdict} for h in self.history],
        }


def place(name: str) -> Path:
    """Return a local location. A relative one is looked for from here, then from the workbook's folder."""
    path = user_path(name)
    return path if path.exists() or path.is_absolute() else home() / path


def start(choice: ChosenParameters[CompareParams]) -> RecordComparison:
    """Read the records."""
    return RecordComparison(choice.params)
