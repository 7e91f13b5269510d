"""hwdiag from Python: facts of a host, a diagnosis, records and their tables, as ``import hwdiag`` offers them.

Nothing of it is imported before it is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hwdiag.diagnose.run import run_all
from hwdiag.experiment.lever import plan_by_id
from hwdiag.host.archive import open_root
from hwdiag.host.model import Host
from hwdiag.host.read import read_host as read
from hwdiag.parameters.diagnosis import load
from hwdiag.record import store
from hwdiag.record.model import Record
from hwdiag.record.tuning import tuning


def read_host(snapshot: str | None = None) -> Host:
    """Return the facts of this machine, or of a snapshot. Raises ``UsageError`` where the snapshot is refused."""
    return read(open_root(snapshot))


def run_diagnosis(*, outputs: str | Path | None = None, **parameters: Any) -> Record:
    """Measure this host as ``hwdiag run`` does, and return the record. It takes minutes, by the parameter ``budget``.

    Args:
        outputs: folder for the record, the report and the scripts; None takes outputs/ of the workbook.
        parameters: those of docs/parameters.md for ``hwdiag run``, such as ``budget="quick"``.

    Raises:
        UsageError: an unknown parameter or a wrong value.
    """
    return run_all(load(parameters), outputs=Path(outputs) if outputs else None).record


def load_record(path: str | Path) -> Record:
    """Return a record, given its file or folder. Raises ``UsageError`` where there is none, or it is damaged."""
    return store.load(Path(path))


def finding_rows(record: Record) -> list[dict[str, Any]]:
    """Return the findings of a record as rows of a data frame, the worst first."""
    names = ("id", "severity", "title", "detail")
    return [{"host": record.name, **{name: getattr(found, name) for name in names}} for found in record.findings]


def measurement_rows(record: Record) -> list[dict[str, Any]]:
    """Return the measurements of a record's launch search as rows of a data frame; none where it holds no search.

    ``median_s`` is of one iteration, in seconds, and None where the process failed; ``outcome`` says how it ended.
    """
    if "tune" not in record.studies:
        return []
    study = tuning(record)
    return [
        {
            "host": record.name,
            "started_at": record.started_at,
            "id": m.id,
            "workload": m.workload,
            "plan": plan_by_id(study.plans, m.plan).title,
            "phase": m.phase,
            "block": m.block,
            "device": m.device,
            "median_s": m.median_s if m.seconds else None,
            "outcome": m.outcome.kind,
            "max_error": m.max_error,
            "peak_rss_bytes": m.peak_rss_bytes,
        }
        for m in study.measurements
    ]
