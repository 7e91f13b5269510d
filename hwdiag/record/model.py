"""Record: the envelope of what was found on one host, one study a topic. All that a person sees is redrawn from it.

The record lies below the topics and does not know their models: a study is a topic's own object while it is made, and
JSON when it was read from a file, until its topic asks for it by ``Record.study``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, ConfigDict, PrivateAttr, SerializeAsAny, ValidationError, model_validator

from hwdiag.core.errors import UsageError
from hwdiag.core.files import EmittedFile
from hwdiag.core.finding import Check, Finding, Recommendation
from hwdiag.core.value import TopicStudy, Value
from hwdiag.host.cpulist import bounded_lists
from hwdiag.host.identity import Identity, identity_of
from hwdiag.host.model import Host
from hwdiag.process.model import Outcome, Software

SCHEMA_VERSION: Literal[2] = 2
NOT_PROBED = Software(python="", outcome=Outcome(kind="not-started", detail="not asked yet"))

Topic = Literal[
    "diagnose",
    "tune",
    "explain",
    "audit",
    "compat",
    "dataloader",
    "devices",
    "estimate",
    "monitor",
    "profile",
    "verify",
]
"""In the order in which a report tells them."""
S = TypeVar("S", bound=TopicStudy)


def first_error(error: ValidationError, *, below: str = "") -> str:
    """Return the first thing that is wrong, and where: ``host.cpu.cores: Input should be a valid integer``."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part)[:60] for part in (*([below] if below else []), *first["loc"]))
    return f"{where}: {first['msg']}"[:300]


class UnreadStudy(TopicStudy):
    """A study as its file has it. Its topic reads it."""

    model_config = ConfigDict(extra="allow")

    _place: str = PrivateAttr("")
    """The file that it was read from."""
    _read: TopicStudy | None = PrivateAttr(None)

    def came_from(self, place: object) -> None:
        """Remember the file, for what is said of a field that is wrong."""
        self._place = str(place)

    def read(self, kind: type[S], topic: str) -> S:
        """Return it as its topic's object. Raises ``UsageError`` with the field that is wrong."""
        if not isinstance(self._read, kind):
            try:
                with bounded_lists():
                    self._read = kind.model_validate(self.model_dump())
            except ValidationError as error:
                where = f"{self._place}: " if self._place else ""
                raise UsageError(f"{where}{first_error(error, below=f'studies.{topic}')}") from None
        return self._read


def _unread(value: Any) -> Any:
    return UnreadStudy.model_validate(value) if isinstance(value, dict) else value


AnyStudy = Annotated[SerializeAsAny[TopicStudy], BeforeValidator(_unread)]


class Record(Value):
    """The findings on one host. Field order is the order in the file: ``complete`` is written last."""

    schema_version: Literal[2] = SCHEMA_VERSION
    name: str
    """The host's folder under outputs/."""
    identity: Identity = Identity()
    """Of ``host``, and always made from it."""
    started_at: str
    """UTC, ISO 8601."""
    finished_at: str
    versions: dict[str, str]
    """hwdiag's own and its libraries' versions."""
    params: dict[Topic, dict[str, Any]] = {}
    """Of each study."""
    verdict: str
    """The one sentence."""
    host: Host
    software: Software = NOT_PROBED
    studies: dict[Topic, AnyStudy] = {}
    findings: tuple[Finding, ...] = ()
    """The worst first; each names the study that it belongs to."""
    recommendations: tuple[Recommendation, ...] = ()
    """Opportunities in order of measured gain; the overall one first."""
    checks: tuple[Check, ...] = ()
    files: tuple[EmittedFile, ...] = ()
    complete: bool = False
    """True only in a record that was written to its end."""

    @model_validator(mode="after")
    def _identified(self) -> Record:
        self.__dict__["identity"] = identity_of(self.host)  # whatever a file says: the facts decide
        return self

    def study(self, topic: Topic, kind: type[S]) -> S | None:
        """Return the study of a topic; None where the record has none.

        Raises:
            UsageError: it is not one of this kind, with the field that is wrong.
        """
        found = self.studies.get(topic)
        if found is None or isinstance(found, kind):
            return found
        return found.read(kind, topic) if isinstance(found, UnreadStudy) else None
