"""The last thing a run says: its verdict, and where everything is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hwdiag.core.finding import worst_first
from hwdiag.core.home import home
from hwdiag.experiment.model import OVERALL
from hwdiag.record.model import Record
from hwdiag.record.store import FILE
from hwdiag.record.tuning import recommended_plan, tuning

MIME = "application/vnd.hwdiag.v1+json"
"""The summary's machine-readable form in a notebook's file."""


class RunSummary:
    """Verdict and paths of one run, for people and for programs."""

    def __init__(self, record: Record, folder: Path) -> None:
        self.record = record
        try:
            self.folder = str(folder.resolve().relative_to(home().resolve()))
        except ValueError:
            self.folder = str(folder)

    @property
    def is_set_inside(self) -> bool:
        """Return whether the program itself sets all that is recommended: then the launch script sets nothing."""
        overall = next((r for r in self.record.recommendations if r.scope == OVERALL and not r.offered), None)
        plan = None if overall is None else recommended_plan(self.record, overall)
        return plan is not None and bool(plan.techniques) and plan.launch.is_default

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict and the paths, ready for JSON."""
        files = {Path(f.path).name: f"{self.folder}/{f.path}" for f in self.record.files}
        return {
            "verdict": self.record.verdict,
            "report": files.get("report.html"),
            "record": files.get(FILE),
            "launch": None if self.is_set_inside else files.get("launch.sh") or files.get("launch-instances.sh"),
            "settings": files.get("settings.py"),
            "source": self.record.host.source,
            "findings": [f"{f.severity}: {f.title}" for f in worst_first(self.record.findings)],
            "measured": any(m.outcome.ok for m in tuning(self.record).measurements),
        }

    def __str__(self) -> str:
        paths = ((name, self.as_dict()[name]) for name in ("report", "record", "launch", "settings"))
        return "\n".join([self.record.verdict, *(f"  {name:<8} {path}" for name, path in paths if path)])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"text/plain": str(self), MIME: self.as_dict()}
