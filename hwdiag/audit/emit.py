"""All files about host settings, as texts: what is chosen in an audit, in each form in which somebody may want it."""

from __future__ import annotations

from importlib import resources

from hwdiag.audit.model import Audit
from hwdiag.audit.persist import render_persistence
from hwdiag.audit.scripts import GPU, PERSIST, SYSTEM, render_settings
from hwdiag.audit.tuned import render_tuned
from hwdiag.core.files import File
from hwdiag.host.model import Host

WHAT = {
    f"{GPU}.sh": "Set, check and undo the settings that were chosen for the GPUs",
    f"{SYSTEM}.sh": "Set, check and undo the settings that were chosen for the host",
    f"{PERSIST}.sh": "Keep it over a reboot, and undo that",
}

PLAYBOOKS = {
    "complete_optimize.yml": "The scripts by Ansible: apply, status, undo, verified over a reboot",
    "apply_non_persistent.yml": "Set again what was forgotten, by Ansible",
    "diagnose.yml": "Run hwdiag on every host of an inventory and fetch records and reports",
    "verify.yml": "Run hwdiag verify on every host of an inventory and collect the verdicts",
    "inventory.yml": "An example of an inventory",
}


def settings_files(audit: Audit, host: Host, *, made_at: str) -> tuple[File, ...]:
    """Return every file that follows from the choice; none where nothing is chosen."""
    scripts = render_settings(audit.chosen, host, made_at=made_at)
    scripts |= render_persistence(audit.chosen, host, scripts, made_at=made_at)
    files = [File(path=f"scripts/{n}", text=text, what=WHAT[n], executable=True) for n, text in scripts.items()]
    profile = render_tuned(audit.chosen, host, made_at=made_at, active=audit.tuned)
    if profile is not None:
        files.append(File(path="scripts/tuned/hwdiag/tuned.conf", text=profile, what="The same as a TuneD profile"))
    if scripts:
        books = resources.files("hwdiag.audit") / "templates" / "ansible"
        files += [
            File(path=f"scripts/ansible/{n}", text=(books / n).read_text(encoding="utf-8"), what=what)
            for n, what in PLAYBOOKS.items()
        ]
    return tuple(files)
