"""The same settings as a TuneD profile (tuned.conf(5))."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from hwdiag.audit.knobs import BY_ID
from hwdiag.audit.model import Row
from hwdiag.audit.scripts import steps
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.host.script import render

PROFILE = "hwdiag"


def active_profiles(root: Root) -> tuple[str, ...]:
    """Return the TuneD profiles that are active, as /etc/tuned tells, without our own."""
    words = (root.text("/etc/tuned/active_profile", 4096) or "").split()
    return tuple(w for w in words if w != PROFILE and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", w))


def render_tuned(rows: Iterable[Row], host: Host, *, made_at: str, active: Sequence[str] = ()) -> str | None:
    """Return the TuneD profile; None where nothing of what is chosen is a kernel file. GPUs and mounts are not TuneD's.

    It includes the ``active`` profiles: what they set stays set, but for what is chosen.
    """
    sections: dict[str, list[tuple[str, str]]] = {}
    for step in steps(rows, host):
        source = BY_ID[step.knob].source
        named = [(step.glob, step.wanted)] if step.glob is not None else [(p.name, p.wanted) for p in step.places]
        for name, wanted in named:
            found = source.tuned(name, wanted, is_pattern=step.glob is not None)
            if found is not None:
                sections.setdefault(found[0], []).append(found[1:])
    if not sections:
        return None
    parts = sorted(sections.items(), reverse=True)
    return render("hwdiag.audit", "tuned.conf.j2", host, made_at, sections=parts, active=active)
