"""make_persistent.sh: the same settings by the means that a system has for them, each in a file of its own name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

from hwdiag.audit.knobs import BY_ID
from hwdiag.audit.knobs.model import Persistence
from hwdiag.audit.model import Row
from hwdiag.audit.scripts import GPU, PERSIST, SYSTEM, WRITE_ONLY, Place, Step, steps
from hwdiag.core.value import Value
from hwdiag.host.model import Host
from hwdiag.host.script import render

LIBRARY = "/usr/local/lib/hwdiag"
OURS = "# Written by make_persistent.sh of hwdiag, which also removes it: 'make_persistent.sh uninstall'."

UNIT = """[Unit]
Description={description}
{more}
[Service]
Type=oneshot
RemainAfterExit=yes
# Fails visibly where a setting does not read back as wanted. "systemctl restart" sets again what was forgotten.
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


Line = Callable[[str, str], str]
"""A place's name and its wanted value as a line of a file."""


class Disk(Value):
    """What a udev rule sets of one disk: ``queue/scheduler=none``, in this order."""

    name: str
    sectors: int
    model: str
    rules: tuple[str, ...]


class PersistentFile(Value):
    """One file that install writes."""

    path: str
    mode: str = "644"
    text: str = ""
    script: str | None = None
    """One that is copied from beside make_persistent.sh."""
    checksum: str = ""
    disks: tuple[Disk, ...] = ()

    @property
    def function(self) -> str:
        return "file_" + "".join(c if c.isalnum() else "_" for c in self.path.strip("/")).replace("__", "_")


def render_persistence(rows: Iterable[Row], host: Host, scripts: Mapping[str, str], *, made_at: str) -> dict[str, str]:
    """``make_persistent.sh`` by its name, where something that is chosen would be gone after a reboot."""
    found = steps(rows, host, persistent=True)
    forgetful = any(g.unified_memory for g in host.gpus)
    files, units = persistent_files(found, scripts, forgetful=forgetful)
    if not files:
        return {}
    has_disks = any(f.disks for f in files)
    text = render(
        "hwdiag.audit", f"{PERSIST}.sh.j2", host, made_at, name=PERSIST, files=files, units=units, has_disks=has_disks
    )
    return {f"{PERSIST}.sh": text}


def persistent_files(
    found: tuple[Step, ...], scripts: Mapping[str, str], *, forgetful: bool = False
) -> tuple[tuple[PersistentFile, ...], tuple[str, ...]]:
    """The files in the order in which they are written, and the units to enable.

    ``forgetful``: the GPU may forget its clocks while the host runs, as a GB10 may.
    """
    files = [
        lines("/etc/sysctl.d/99-zz-hwdiag.conf", of(found, "sysctl"), sysctl),
        lines("/etc/tmpfiles.d/hwdiag.conf", of(found, "tmpfiles"), tmpfile),
        lines("/etc/modprobe.d/hwdiag-zfs.conf", of(found, "modprobe"), module_option),
        lines("/etc/security/limits.d/99-hwdiag.conf", of(found, "limits"), limit),
    ]
    disks = rules(of(found, "udev"))
    if disks:
        files.append(PersistentFile(path="/etc/udev/rules.d/99-hwdiag.rules", disks=disks))
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
        files.append(PersistentFile(path=f"/etc/systemd/system/{unit}", text=f"{OURS}\n{body}"))
        units.append(unit)
        untold = [knob for knob in mine if knob in WRITE_ONLY]
        if forgetful and untold:
            again = AGAIN.format(library=LIBRARY, script=script, only=",".join(untold))
            for name, text in (("hwdiag-gpu-again.service", again), ("hwdiag-gpu-again.timer", TIMER)):
                files.append(PersistentFile(path=f"/etc/systemd/system/{name}", text=f"{OURS}\n{text}"))
            units.append("hwdiag-gpu-again.timer")
    return tuple(f for f in files if f is not None), tuple(units)


def of(found: tuple[Step, ...], means: Persistence) -> tuple[Step, ...]:
    """The steps that are kept by this means."""
    return tuple(s for s in found if BY_ID[s.knob].persists == means)


def lines(path: str, found: tuple[Step, ...], line: Line) -> PersistentFile | None:
    """A file of one line for each place."""
    told = [line(p.name, p.wanted) for s in found for p in s.places]
    return PersistentFile(path=path, text="\n".join([OURS, *told])) if told else None


def sysctl(name: str, wanted: str) -> str:
    """sysctl.d(5). The file sorts after 99-sysctl.conf, which is /etc/sysctl.conf on many distributions."""
    return f"{name.removeprefix('/proc/sys/').replace('/', '.')} = {wanted}"


def tmpfile(name: str, wanted: str) -> str:
    """tmpfiles.d(5): written at boot only."""
    return f"w! {name} - - - - {wanted.replace('%', '%%')}"


def module_option(name: str, wanted: str) -> str:
    """modprobe.d(5). Root on ZFS reads it from the initial ramdisk: that must be made again by hand."""
    return f"options zfs {name.rpartition('/')[2]}={wanted}"


def limit(name: str, wanted: str) -> str:
    """limits.conf(5): logins only. A service takes LimitNOFILE= and LimitMEMLOCK= of its unit."""
    item = {"Max open files": "nofile", "Max locked memory": "memlock"}[name]
    kind = "-" if item == "memlock" else "soft"
    return f"* {kind} {item} {wanted}\nroot {kind} {item} {wanted}"


def rules(found: tuple[Step, ...]) -> tuple[Disk, ...]:
    """What is set of each disk, in the order of the steps: a scheduler before the queue's length that it resets."""
    by_disk: dict[str, list[Place]] = {}
    for place in (p for step in found for p in step.places if p.disk):
        by_disk.setdefault(place.disk or "", []).append(place)
    return tuple(
        Disk(
            name=name,
            sectors=places[0].sectors,
            model=places[0].model,
            rules=tuple(f"{p.name.removeprefix(f'/sys/block/{name}/')}={p.wanted}" for p in places),
        )
        for name, places in by_disk.items()
    )
