"""Settings that drifted: values that nearly all hosts of a kind share, and these do not."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from hwdiag.compare.fleet.kinds import LEAST_KIND, MachineKind
from hwdiag.compare.fleet.lineage import HostLine
from hwdiag.compare.fleet.model import Remark
from hwdiag.core.text import plural
from hwdiag.record.differences import group_of

USUAL = 0.9
"""Share of a kind's hosts with one value from which on another value has drifted."""
TOLD = 3
CMDLINE = "system.cmdline"
OWN = re.compile(r"(?i)\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(root|resume|hostname|ip|BOOT_IMAGE|ifname)=\S+")
"""Words of a kernel's command line that are each host's own."""


def drifted(kinds: Sequence[MachineKind]) -> None:
    """Add to the remarks of hosts which settings are other than nearly all of their kind have."""
    for kind in kinds:
        if len(kind.hosts) < LEAST_KIND:
            continue
        facts = [(line, settings_of(line)) for line in kind.hosts]
        usual = usual_values([told for _, told in facts])
        for line, told in facts:
            strange = [(name, told.get(name, ""), *usual[name]) for name in usual if name in told]
            line.remarks += remark([s for s in strange if s[1] != s[2]])


def settings_of(line: HostLine) -> dict[str, str]:
    """Return the settings and the software of the newest record, without what is each host's own."""
    row = line.last
    if row is None:
        return {}
    told = {name: value for name, value in row.facts.items() if group_of(name) != "fact"}
    if CMDLINE in told:
        told[CMDLINE] = " ".join(OWN.sub("", told[CMDLINE]).split())
    return told


def usual_values(facts: Sequence[dict[str, str]]) -> dict[str, tuple[str, int, int]]:
    """Return the value that nearly all have, of each setting that has one: with how many have it, of how many."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for told in facts:
        for name, value in told.items():
            counts[name][value] += 1
    found = {}
    for name, values in counts.items():
        (value, most), total = values.most_common(1)[0], sum(values.values())
        if total >= LEAST_KIND and USUAL <= most / total < 1:
            found[name] = (value, most, total)
    return found


def remark(strange: Sequence[tuple[str, str, str, int, int]]) -> Iterator[Remark]:
    """Yield the one line on a host's settings that drifted."""
    if strange:
        told = ", ".join(
            f"{name} {has} ({usual}: {most} of {total})" for name, has, usual, most, total in strange[:TOLD]
        )
        more = f" and {len(strange) - TOLD} more" if len(strange) > TOLD else ""
        yield Remark(
            kind="setting", severity="warning", text=f"{plural(len(strange), 'setting')} drifted: {told}{more}"
        )
