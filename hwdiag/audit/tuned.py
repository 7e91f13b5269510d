"""The same settings as a TuneD profile (tuned.conf(5))."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hwdiag.audit.model import Row
from hwdiag.audit.persist import sysctl
from hwdiag.audit.scripts import steps
from hwdiag.host.model import Host
from hwdiag.host.script import render

PLAIN = re.compile("[A-Za-z0-9._:/-]+")
"""Paths in which TuneD expands nothing: neither ``*`` nor ``${f:exec:...}``."""


def render_tuned(rows: Iterable[Row], host: Host, *, made_at: str) -> str | None:
    """The profile; None where nothing of what is chosen is a kernel file. GPUs and mounts are not TuneD's."""
    sysctls, files = [], []
    for step in steps(rows, host):
        if step.latency is not None:
            continue  # by latency, not by name: TuneD's own force_latency is the like of it
        if step.glob is not None:
            files.append((step.glob, step.wanted))
        for place in step.places:
            if place.name.startswith("/proc/sys/"):
                name, _, value = sysctl(place.name, place.wanted).partition(" = ")
                sysctls.append((name, value))
            elif place.kind == "file" and PLAIN.fullmatch(place.name):
                files.append((place.name, place.wanted))
    if not sysctls and not files:
        return None
    return render("hwdiag.audit", "tuned.conf.j2", host, made_at, sysctls=sysctls, files=files)
