"""All files about host settings, as texts: what is chosen in an audit, in each form in which somebody may want it."""

from __future__ import annotations

from hwdiag.advise.audit import Audit
from hwdiag.emit.persist import render_persistence
from hwdiag.emit.scripts import GPU, PERSIST, SYSTEM, render_settings
from hwdiag.host.model import Host
from hwdiag.model import Value


class File(Value):
    """A file to write below a run's folder."""

    path: str
    text: str
    what: str
    """In a line."""
    executable: bool = False


WHAT = {
    f"{GPU}.sh": "Set, check and take back what was chosen for the GPUs",
    f"{SYSTEM}.sh": "Set, check and take back what was chosen for the host",
    f"{PERSIST}.sh": "Keep it over a reboot, and take that back",
}


def settings_files(audit: Audit, host: Host, *, made_at: str) -> tuple[File, ...]:
    """Everything that follows from what is chosen; nothing where nothing is."""
    scripts = render_settings(audit.chosen, host, made_at=made_at)
    scripts |= render_persistence(audit.chosen, host, scripts, made_at=made_at)
    return tuple(
        File(path=f"scripts/{name}", text=text, what=WHAT[name], executable=True) for name, text in scripts.items()
    )
