"""Steps of the diagnose notebook: parameters in, a Diagnosis to walk through, a summary out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from hwdiag.core.errors import NothingMeasuredError
from hwdiag.diagnose.replay import Replay
from hwdiag.diagnose.run import Diagnosis
from hwdiag.diagnose.summary import RunSummary
from hwdiag.parameters.diagnosis import load, profile_names
from hwdiag.record.tuning import tuning
from hwdiag.report.progress import notebook_progress
from hwdiag.report.widgets import EmitChooser, ProfileChooser
from hwdiag.workbook.cells import given_parameters, one_line_interrupts, replay_path, replayed


def parameters(namespace: Mapping[str, Any]) -> ProfileChooser:
    """Check the parameters that the notebook's first cells set; in JupyterLab, offer widgets to change them.

    Args:
        namespace: the notebook's ``globals()``.

    Raises:
        UsageError: an unknown parameter, host or value.
    """
    if replayed() is not None:
        return ProfileChooser(Replay(replay_path()).profile, (), load)
    one_line_interrupts()
    given = given_parameters(namespace)
    chosen = next((v for v in namespace.values() if isinstance(v, ProfileChooser) and v.given == given), None)
    # Who chooses in the menus and then runs the cell again, or all cells, means to keep the choice.
    return chosen or ProfileChooser(load(given), profile_names(), load, given)


def start(choice: ProfileChooser) -> Diagnosis:
    """Begin a run with the chosen profile; with HWDIAG_REPLAY set, walk through that record instead."""
    if replayed() is not None:
        return Replay(replay_path())
    return Diagnosis(choice.chosen(), progress=notebook_progress(), own_folder=choice.compares_only)


def write(run: Diagnosis, scripts: EmitChooser) -> RunSummary:
    """Write the scripts that are chosen, the report and the record, and again when another box is ticked.

    Raises:
        NothingMeasuredError: as ``finish`` does.
    """

    def written(chosen: Collection[str]) -> RunSummary:
        run.emit(chosen)
        return finish(run)

    return scripts.write(written)


def finish(run: Diagnosis) -> RunSummary:
    """Write the report and the record; gives the summary.

    Raises:
        NothingMeasuredError: the facts are recorded, but nothing could be measured. Of a snapshot nothing ever is.
    """
    record = run.finish()
    summary = RunSummary(record, run.folder)
    if record.host.is_here and not any(m.outcome.ok for m in tuning(record).measurements):
        raise NothingMeasuredError(f"{record.verdict} The facts are in {summary.as_dict()['report']}")
    return summary
