"""The last thing a run says: its verdict, and where everything is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hwdiag.core.finding import worst_first
from hwdiag.core.home import home
from hwdiag.record.model import Record
from hwdiag.record.store import FILE
from hwdiag.record.tuning import tuning

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

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict and the paths, ready for JSON."""
        files = {Path(f.path).name: f"{self.folder}/{f.path}" for f in self.record.files}
        return {
            "verdict": self.record.verdict,
            "report": files.get("report.html"),
            "record": files.get(FILE),
            "launch": files.get("launch.sh") or files.get("launch-instances.sh"),
            "source": self.record.host.source,
            "findings": [f"{f.severity}: {f.title}" for f in worst_first(self.record.findings)],
            "measured": any(m.outcome.ok for m in tuning(self.record).measurements),
        }

    def __str__(self) -> str:
        paths = ((name, self.as_dict()[name]) for name in ("report", "record", "launch"))
        return "\n".join([self.record.verdict, *(f"  {name:<7} {path}" for name, path in paths if path)])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"text/plain": str(self), MIME: self.as_dict()}
