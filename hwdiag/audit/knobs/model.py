"""Entries about settings. Adding a setting is adding an entry to one of this package's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field, model_validator

from hwdiag.audit.kind import Kind
from hwdiag.core.choices import Role
from hwdiag.core.value import Value
from hwdiag.host.model import Host
from hwdiag.host.settings import Setting

Group = Literal["gpu", "cpu", "memory", "io", "zfs", "network", "scheduler", "limits", "environment"]


GENERAL_MEANS = ("unit", "enable", "device")
"""How a value is kept over a reboot, beside the means of its kind, which are files that the system reads early: set
again by a systemd unit, by enabling the unit that it is about, or not at all since the device or file system keeps it.
"""


@dataclass(frozen=True)
class KnobCase:
    """One setting on one host, with all that a rule may look at."""

    host: Host
    role: Role
    setting: Setting
    value: str | None = None
    """What the person wants it to be, if it was given."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Everything that was read: value by place."""
    symptoms: Mapping[str, str] = field(default_factory=dict)
    """What was seen or measured here, in a sentence, by the symptom's name."""

    @property
    def now(self) -> str:
        return self.setting.now or ""

    @property
    def number(self) -> int | None:
        """Return the present value as a number."""
        return int(self.now) if self.now.lstrip("-").isdecimal() else None

    def beside(self, name: str) -> str | None:
        """Return the value of another file in the same folder."""
        return self.others.get(f"{self.setting.where.rpartition('/')[0]}/{name}")


Rule = Callable[[KnobCase], "str | None"]
"""Looks at a case; None says nothing."""


class Knob(Value):
    """All that is known of one setting."""

    id: str = Field(pattern=r"^[a-z]+\.[a-z_]+$")
    group: Group
    what: str
    """One sentence."""
    source: Kind
    """How it is read. It exists where this finds something."""
    known: str
    """What is known of its effect, and when it helps."""
    evidence: Literal["documented", "folklore"]
    """Documented by who made it, or only told from guide to guide. Measured here is said by the case, not the entry."""
    link: str
    risk: str = ""
    wanted: Rule | None = None
    """The value to set, where it makes sense; None for an entry that is never emitted."""
    takes: str | None = None
    """Regular expression of the values that a person may ask for; None where there is no choice of value."""
    takes_text: str = ""
    """The same in words."""
    listed_in: str = ""
    """The file beside it that lists what it can be; a file that lists that itself needs none."""
    trigger: Rule | None = None
    """What symptom, measurement or fact of this host speaks for it: then it is chosen without being asked for."""
    objection: Rule | None = None
    """What is wrong with the present value: a finding."""
    severity: Literal["warning", "note"] = "warning"
    """Of that finding."""
    beside: tuple[Kind, ...] = ()
    """What else its rules look at."""
    after: tuple[str, ...] = ()
    """Entries that must be set before, since they change this one too."""
    disturbs: tuple[str, ...] = ()
    """Files, from the same folder on, that the kernel changes along with it; they are saved and restored with it."""
    below: str | None = None
    """An entry whose value its own must stay below, where both are chosen."""
    persists: str | None = None
    """Its means: one of its kind's, or a general one."""
    by_name: bool = False
    """Chosen only by its own name, not with its whole group: it is for another purpose than speed, or breaks things."""

    @model_validator(mode="after")
    def has_its_means(self) -> Knob:
        """Refuse a means that neither its kind has nor all have."""
        if self.persists not in (None, *self.source.means, *GENERAL_MEANS):
            raise ValueError(f"{self.id}: settings of the kind {self.source.name} are not kept by {self.persists}")
        return self

    def offered(self, case: KnobCase) -> tuple[str, ...]:
        """Return what the kernel lists as possible values; empty where it lists none."""
        listed = case.beside(self.listed_in) if self.listed_in else None
        return case.setting.offered or tuple((listed or "").split())

    @property
    def script(self) -> Literal["gpu", "system"]:
        """Return the script that sets it."""
        return "gpu" if self.group == "gpu" else "system"

    @property
    def lasts(self) -> bool:
        """Return whether a value survives a reboot by itself once it is set."""
        return self.persists in ("enable", "device")
