"""A recorded run, walked through in place of a new one."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pydantic import ValidationError

from hwdiag.core.errors import UsageError
from hwdiag.diagnose.run import Diagnosis
from hwdiag.parameters.diagnosis import Profile
from hwdiag.record import store
from hwdiag.record.model import Record, first_error


class Replay(Diagnosis):
    """The same steps over a recorded run: nothing is read, measured or written."""

    def __init__(self, path: Path) -> None:
        """Load the record. Raises ``UsageError`` if there is none that is whole, or it holds no search for a launch."""
        self.record = store.load(path)
        self.folder = path if path.is_dir() else path.parent
        if "tune" not in self.record.studies:
            raise UsageError(f"{path} holds no search for a launch")
        try:
            self.profile = Profile.model_validate(self.record.params.get("tune", {}))
        except ValidationError as error:
            raise UsageError(f"{path}: {first_error(error, below='params.tune')}") from None

    def probe_software(self) -> Record:
        return self.record

    plan = measure = advise = finish = probe_software

    def emit(self, chosen: Collection[str] | None = None) -> Record:  # noqa: ARG002
        return self.record
