"""make_persistent.sh: the same settings by the means that a system has for them, each in a file of its own name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from hwdiag.audit.kind import OURS, PersistentFile, part
from hwdiag.audit.kinds import kinds
from hwdiag.audit.knobs import BY_ID
from hwdiag.audit.model import Row
from hwdiag.audit.scripts import GPU, PERSIST, SYSTEM, Step, steps
from hwdiag.host.model import Host
from hwdiag.host.script import render

LIBRARY = "/usr/libexec/hwdiag"
"""Where SELinux's policies let systemd start what lies there."""

UNITS = "/etc/systemd/system"
UNIT_NAMES = ("hwdiag-system.service", "hwdiag-gpu.service", "hwdiag-gpu-again.service", "hwdiag-gpu-again.timer")

UNIT = """[Unit]
Description={description}
{more}
[Service]
Type=oneshot
RemainAfterExit=yes
# Fails visibly where a setting does not read back as wanted. "systemctl restart" sets again what was forgotten.
# 3: all but what the driver refused before as well, which its log names and another try does not change.
SuccessExitStatus=3
ExecStart={library}/{script}.sh apply --only {only}

[Install]
WantedBy=multi-user.target"""

GPU_ORDER = """# nvidia-smi loads the driver where nothing did yet
After=nvidia-persistenced.service
"""
"""The driver forgets settings when its last client leaves: nvidia-persistenced is one that stays. There is no condition
on /dev/nvidiactl, since the first program that asks makes it: a unit that is left out for that says nothing."""

AGAIN = """[Unit]
Description=GPU settings that may be forgotten when a CUDA program starts, asked for again
After=hwdiag-gpu.service
ConditionPathExists=/dev/nvidiactl

[Service]
Type=oneshot
SuccessExitStatus=3
ExecStart={library}/{script}.sh apply --only {only}"""

TIMER = """[Unit]
Description=GPU settings that may be forgotten when a CUDA program starts, every five minutes

[Timer]
OnBootSec=5min
OnUnitActiveSec=5min

[Install]
WantedBy=timers.target"""
"""On a GB10 it is told that clocks are forgotten at a CUDA start. Nothing tells them back, so the only way to have them
is to ask again; asking for what is set already changes nothing."""


def render_persistence(rows: Iterable[Row], host: Host, scripts: Mapping[str, str], *, made_at: str) -> dict[str, str]:
    """Return ``make_persistent.sh`` by its name, where something that is chosen would be gone after a reboot."""
    found = steps(rows, host, persistent=True)
    forgetful = any(g.unified_memory for g in host.accelerators)
    files, units = persistent_files(found, scripts, forgetful=forgetful)
    if not files:
        return {}
    parts = [part(name) for name in dict.fromkeys(f.part for f in files if f.part)]
    text = render(
        "hwdiag.audit",
        f"{PERSIST}.sh.j2",
        host,
        made_at,
        name=PERSIST,
        files=files,
        units=units,
        parts=parts,
        known=known_places(),
    )
    return {f"{PERSIST}.sh": text}


def known_places() -> list[str]:
    """Return all that any choice may have written, as the journal names it: files, their folders, and units."""
    paths = [path for kind in kinds() for path in kind.means.values()]
    paths += [f"{LIBRARY}/{script}.sh" for script in (SYSTEM, GPU)] + [f"{UNITS}/{unit}" for unit in UNIT_NAMES]
    folders = dict.fromkeys(str(f) for path in paths for f in PurePosixPath(path).parents if len(f.parts) > 2)
    return [f"file {p}" for p in paths] + [f"dir {f}" for f in folders] + [f"unit {u}" for u in UNIT_NAMES]


def persistent_files(
    found: tuple[Step, ...], scripts: Mapping[str, str], *, forgetful: bool = False
) -> tuple[tuple[PersistentFile, ...], tuple[str, ...]]:
    """Return the files in the order in which they are written, and the units to enable.

    ``forgetful``: the GPU may forget its clocks while the host runs, as a GB10 may.
    """
    files = []
    for kind in kinds():
        for means in kind.means:
            kept = [(BY_ID[s.knob].source, p) for s in of(found, means) for p in s.places]
            if kept:
                files.append(kind.keep(means, kept))
    units = []
    for script, order, words in ((SYSTEM, "", "CPU settings"), (GPU, GPU_ORDER, "GPU settings")):
        mine = [s.knob for s in of(found, "unit") if (BY_ID[s.knob].script == "gpu") == (script == GPU)]
        text = scripts.get(f"{script}.sh")
        if not mine or text is None:
            continue
        unit = f"hwdiag-{script.partition('_')[0]}.service"
        body = UNIT.format(
            description=f"{words} that were chosen with hwdiag",
            more=order,
            library=LIBRARY,
            script=script,
            only=",".join(mine),
        )
        checksum = hashlib.sha256(text.encode()).hexdigest()
        files.append(
            PersistentFile(path=f"{LIBRARY}/{script}.sh", mode="755", script=f"{script}.sh", checksum=checksum)
        )
        files.append(PersistentFile(path=f"{UNITS}/{unit}", text=f"{OURS}\n{body}"))
        units.append(unit)
        untold = [knob for knob in mine if not BY_ID[knob].source.is_told]
        if forgetful and untold:
            again = AGAIN.format(library=LIBRARY, script=script, only=",".join(untold))
            for name, text in (("hwdiag-gpu-again.service", again), ("hwdiag-gpu-again.timer", TIMER)):
                files.append(PersistentFile(path=f"{UNITS}/{name}", text=f"{OURS}\n{text}"))
            units.append("hwdiag-gpu-again.timer")
    return tuple(files), tuple(units)


def of(found: tuple[Step, ...], means: str) -> tuple[Step, ...]:
    """Return the steps that are kept by this means."""
    return tuple(s for s in found if BY_ID[s.knob].persists == means)
