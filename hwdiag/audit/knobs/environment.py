"""The environment of processes: the variables that ``process.environment`` knows. Only launch scripts set them."""

from __future__ import annotations

import re

from hwdiag.audit.kinds.unread import Unread
from hwdiag.audit.knobs.model import Knob
from hwdiag.process.environment.model import Variable
from hwdiag.process.environment.registry import VARIABLES

_SCOPE = {
    "per program": "launch.sh sets it for one program where that was measured to help",
    "diagnosis only": "for finding faults, never set to stay",
    "never": "never set",
}


def entry(variable: Variable) -> Knob:
    """Return a variable of the registry, or a family of them, as an entry."""
    return Knob(
        id=f"env.{re.sub('[^a-z]+', '_', variable.pattern.lower()).strip('_')}",
        group="environment",
        what=variable.pattern,
        source=Unread(why=_SCOPE[variable.emit]),
        known=f"{variable.effect} {variable.advice}",
        evidence="folklore" if variable.reader == "nothing" else "documented",
        link=variable.source,
    )


KNOBS = tuple(entry(v) for v in VARIABLES)
