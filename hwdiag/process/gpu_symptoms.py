"""Faults of GPUs, by what driver and kernel tell of them: each its own rule, with its own remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from hwdiag.core.finding import Check, Finding
from hwdiag.core.text import capitalised, plural
from hwdiag.host.gpu import reasons
from hwdiag.host.model import Gap, GapKind, Gpu, Host

Answer = Finding | Check

BUSY = 50
"""Percent of utilisation from which on a GPU's clock says something."""
FULLY_BUSY = 90
"""Percent from which on clocks are high that follow the load, as AMD's and Intel's; NVIDIA's do not while CUDA runs."""
LOW_CLOCK = 0.8
"""Share of the highest clock below which a reason is looked for."""
VERY_LOW_CLOCK = 0.6
"""Share below which a clock under load is not usual, whatever holds it there."""
LOWERED = 0.95
"""Share of the maker's power limit below which somebody lowered it."""
IDLE_CLOCK, MUCH_POWER = 0.15, 0.8
"""Share of the highest clock, and of the power limit, that do not go together."""
IMPOSSIBLE_POWER = 1.5
"""Times the highest power limit that no reading reaches: what a board draws for an instant stays below."""
LOW_POWER_MHZ, GB10_MHZ = 1000, 2200
"""A GB10 under load runs at 2300 to 2500 MHz; 500 to 850 is its low-power state."""
LOW_POWER_W = 60
"""It draws up to 100 W under load, and some 30 W in that state."""
LOCK, POWER_CAP = "applications clocks setting", "software power cap"

REASONS = {reason.name: reason.meaning for reason in reasons().values()}
"""What each reason for a GPU's low clock means, in a clause."""
ALARMS = tuple(reason.name for reason in reasons().values() if reason.is_fault)
"""Those that are a fault and not the usual end of the range."""

SEEN_IN = ("audit.activity.gpus",)


# Its clock


def about_clock(gpu: Gpu) -> Iterator[Answer]:
    """Yield whether a GPU is under its clock, and why: the first rule that fits."""
    id_, title = f"gpu-clock:GPU {gpu.index}", f"Clock of {named(gpu)}"
    if (wrong := impossible(gpu)) is not None:
        yield Finding(
            id=id_,
            severity="warning",
            title=f"{named(gpu)} reports impossible values: {wrong}",
            detail="So nothing follows from its clock, power and use. Look again with 'nvidia-smi -q'; where it stays, "
            "reset the GPU or load its driver again, and look at the driver's version.",
            evidence=SEEN_IN,
        )
    elif gpu.sm_mhz is None or not gpu.sm_max_mhz:
        yield Check(id=id_, state="unchecked", title=title, detail=untold(gpu, "its clock"))
    elif (gpu.utilization or 0) < BUSY and not faults(gpu):
        why = untold(gpu, "its use") if gpu.utilization is None else f"it is at {gpu.utilization} % utilisation"
        yield Check(id=id_, state="unchecked", title=f"{title} under load", detail=f"{why}: look again while it works")
    else:
        yield next(answer for rule in RULES if (answer := rule(gpu, id_)) is not None)


def named(gpu: Gpu) -> str:
    return f"GPU {gpu.index} ({gpu.name})"


def clock(gpu: Gpu) -> str:
    return f"{gpu.sm_mhz:.0f} of {gpu.sm_max_mhz:.0f} MHz"


def share(gpu: Gpu) -> float:
    """Return its clock as a share of the highest."""
    return (gpu.sm_mhz or 0) / (gpu.sm_max_mhz or 1)


def use(gpu: Gpu) -> str:
    return "of unknown utilisation" if gpu.utilization is None else f"at {gpu.utilization} % utilisation"


def faults(gpu: Gpu) -> list[str]:
    """Return those of the driver's reasons that are faults."""
    return [r for r in gpu.throttle_reasons if r in ALARMS]


def told_reasons(gpu: Gpu) -> str:
    """Return each of the driver's reasons with its meaning."""
    known = [f"{r}: {REASONS.get(r, 'not known to hwdiag')}" for r in gpu.throttle_reasons]
    return f"{'; '.join(known)}." if known else "The driver gives no reason."


def untold(gpu: Gpu, what: str) -> str:
    """Return why the driver does not tell something of this GPU."""
    if gpu.mig:
        return f"it is cut into slices (MIG), and NVML does not report {what} then; DCGM does ('dcgmi dmon')"
    if gpu.virtualization == "vGPU":
        return f"it is a vGPU, and only its host can read {what}"
    return f"the driver does not report {what}"


def impossible(gpu: Gpu) -> str | None:
    """Return the readings that contradict each other; None where they can all be true."""
    limit = max((w for w in (gpu.power_limit_w, gpu.power_max_w, gpu.power_default_w) if w), default=None)
    found = [
        f"it draws {gpu.power_w:.0f} W of a limit of {limit:.0f} W"
        if limit is not None and gpu.power_w is not None and gpu.power_w > IMPOSSIBLE_POWER * limit
        else "",
        f"it draws {gpu.power_w:.0f} W at {clock(gpu)}"
        if limit is not None and (gpu.power_w or 0) > MUCH_POWER * limit and gpu.sm_max_mhz and share(gpu) < IDLE_CLOCK
        else "",
        f"its clock is {clock(gpu)}"
        if gpu.sm_mhz is not None and gpu.sm_max_mhz and (gpu.sm_mhz < 0 or share(gpu) > 1.1)
        else "",
        f"its utilisation is {gpu.utilization} %" if not 0 <= (gpu.utilization or 0) <= 100 else "",
        f"its temperature is {gpu.temperature_c:.0f} °C" if not -40 <= (gpu.temperature_c or 0) <= 150 else "",
    ]
    return ", ".join(filter(None, found)) or None


def faulty(gpu: Gpu, id_: str) -> Answer | None:
    """Return that heat or its supply slows it down."""
    if not faults(gpu):
        return None
    return Finding(
        id=id_,
        severity="warning",
        title=f"{named(gpu)} is slowed down: {clock(gpu)} {use(gpu)}",
        detail=told_reasons(gpu),
        evidence=SEEN_IN,
    )


def locked(gpu: Gpu, id_: str) -> Answer | None:
    """Return that somebody set its clock lower."""
    if LOCK not in gpu.throttle_reasons or share(gpu) >= LOW_CLOCK:
        return None
    return Finding(
        id=id_,
        severity="warning" if share(gpu) < VERY_LOW_CLOCK else "note",
        title=f"{named(gpu)} is held at {clock(gpu)} by a clock that somebody set",
        detail=f"{told_reasons(gpu)} As root, 'nvidia-smi -i {gpu.index} -rgc' resets a locked clock, and "
        f"'nvidia-smi -i {gpu.index} -rac' an application clock; 'gpu_optimize.sh undo' where hwdiag's script set it.",
        evidence=SEEN_IN,
    )


def low_power(gpu: Gpu, id_: str) -> Answer | None:
    """Return that it is a DGX Spark whose power supply was negotiated wrongly: a low clock under load, and nothing that
    explains it. A clock that was locked looks the same where the driver gives no reason."""
    sips = gpu.power_w is None or gpu.power_w < LOW_POWER_W
    if "GB10" not in gpu.name.split() or (gpu.sm_mhz or 0) >= LOW_POWER_MHZ or not sips:
        return None
    draws = (
        f"It draws {f'{gpu.power_w:.0f} W' if gpu.power_w is not None else 'an unknown power'}, and no thermal reason "
    )
    may_be_locked = not gpu.throttle_reasons
    state = "held far below its clock" if may_be_locked else "stuck in its low-power state"
    first = (
        f"Somebody may have locked its clock: 'nvidia-smi -i {gpu.index} -rgc' as root resets that. " * may_be_locked
    )
    last = "If it stays so after both" if may_be_locked else "No setting helps; if it comes back"
    return Finding(
        id=id_,
        severity="problem",
        title=f"{named(gpu)} is {state}: {clock(gpu)} under load",
        detail=f"{draws}is given. {first}{'Else the' if may_be_locked else 'The'} power supply's negotiation went "
        f"wrong. Unplug it for a minute. {last}, the unit is faulty.",
        evidence=SEEN_IN,
    )


def capped(gpu: Gpu, id_: str) -> Answer | None:
    """Return that its power limit holds it far below its clock, and who set that limit."""
    if POWER_CAP not in gpu.throttle_reasons or share(gpu) >= LOW_CLOCK:
        return None
    limit, makers = gpu.power_limit_w, gpu.power_default_w
    held = f"{named(gpu)} is held at {clock(gpu)} by its power limit"
    if limit is not None and makers is not None and limit < LOWERED * makers:
        return Finding(
            id=id_,
            severity="warning" if share(gpu) < VERY_LOW_CLOCK else "note",
            title=f"{held} of {limit:.0f} W, which somebody lowered from {makers:.0f} W",
            detail=f"{told_reasons(gpu)} As root, 'nvidia-smi -i {gpu.index} -pl {makers:.0f}' sets the maker's limit "
            "again, where supply and cooling bear it.",
            evidence=SEEN_IN,
        )
    if share(gpu) >= VERY_LOW_CLOCK or is_gb10(gpu):
        return None
    of = "" if limit is None else f" of {limit:.0f} W"
    return Finding(
        id=id_,
        severity="note",
        title=f"{held}{of}",
        detail=f"{told_reasons(gpu)} So far below its clock is usual for cards of up to some 75 W; on others look "
        "whether the limit is the maker's ('nvidia-smi -q -d POWER'), and whether all power cables are in.",
        evidence=SEEN_IN,
    )


def is_gb10(gpu: Gpu) -> bool:
    return "GB10" in gpu.name.split()


def unexplained(gpu: Gpu, id_: str) -> Answer | None:
    """Return that its clock is far below the highest, and nothing says why."""
    least = GB10_MHZ if is_gb10(gpu) else VERY_LOW_CLOCK * (gpu.sm_max_mhz or 0)
    follows_load = gpu.vendor != "nvidia" and (gpu.utilization or 0) < FULLY_BUSY
    if (gpu.sm_mhz or 0) >= least or follows_load or (gpu.throttle_reasons and not is_gb10(gpu)):
        return None
    usual = " A GB10 holds 2300 to 2500 MHz under load." if is_gb10(gpu) else ""
    return Finding(
        id=id_,
        severity="warning" if share(gpu) < VERY_LOW_CLOCK / 2 else "note",
        title=f"{named(gpu)} runs far below its clock: {clock(gpu)} {use(gpu)}",
        detail=f"{told_reasons(gpu)}{usual} {unlocking(gpu)}Then look for a power supply that gives too little.",
        evidence=SEEN_IN,
    )


def unlocking(gpu: Gpu) -> str:
    """Return how a clock that somebody locked is set free."""
    if gpu.vendor == "nvidia":
        return f"Look for a lock first: as root, 'nvidia-smi -i {gpu.index} -rgc' resets it. "
    if gpu.vendor == "amd":
        return "Look for a lock first: power_dpm_force_performance_level of its device should be 'auto'. "
    return ""


def usual(gpu: Gpu, id_: str) -> Answer | None:
    """Return that its clock is as it should be; of its speed that says nothing."""
    if is_gb10(gpu):
        detail = (
            f"{clock(gpu)}: 2300 to 2500 MHz is what a GB10 holds under load; its highest clock is never reached. "
            "It can be slow all the same: 'hwdiag devices' measures what it reaches"
        )
        return Check(id=id_, state="fine", title=f"{named(gpu)} runs at its usual clock", detail=detail)
    if share(gpu) >= LOW_CLOCK:
        detail = f"{clock(gpu)} {use(gpu)}"
        return Check(id=id_, state="fine", title=f"{named(gpu)} runs near its highest clock", detail=detail)
    detail = f"{clock(gpu)} under load. {told_reasons(gpu)}"
    title = f"{named(gpu)} is below its highest clock, for no faulty reason"
    return Check(id=id_, state="fine", title=title, detail=detail)


RULES: tuple[Callable[[Gpu, str], Answer | None], ...] = (
    faulty, locked, low_power, capped, unexplained, usual,
)  # fmt: skip


# Its link


def about_link(gpu: Gpu) -> Iterator[Answer]:
    """Yield whether a GPU that works has fewer lanes, or slower ones, than it and its slot can have."""
    now, most = (gpu.pcie_generation, gpu.pcie_width), (gpu.pcie_max_generation, gpu.pcie_max_width)
    if gpu.unified_memory or gpu.integrated or None in now or None in most or (gpu.utilization or 0) < BUSY:
        return  # one that is idle slows its link down
    link = f"PCIe {now[0]} x{now[1]}"
    if (now[0] or 0) < (most[0] or 0) or (now[1] or 0) < (most[1] or 0):
        yield Finding(
            id=f"gpu-link:GPU {gpu.index}",
            severity="warning",
            title=f"{named(gpu)} works over {link}, of {most[0]} x{most[1]} that it and its slot can do",
            detail=f"{capitalised(use(gpu))} a link does not rest. All copies between host and GPU take longer for it. "
            "Reseat the card, look at riser and cables, at the slot's lanes in the board's manual, and at the "
            "firmware's setting of the slot.",
            evidence=SEEN_IN,
        )
    else:
        yield Check(
            id=f"gpu-link:GPU {gpu.index}", state="fine", title=f"Link of {named(gpu)}", detail=f"{link} {use(gpu)}"
        )


# GPUs that cannot be asked

TROUBLES: Mapping[GapKind, tuple[str, str]] = {
    "lost": (
        "is lost: it has fallen off the bus",
        "Programs on it fail with 'unknown error' or hang. Only a reboot brings it back, often one that takes its "
        "power away. 'dmesg | grep Xid' says when; if it happens again look at its power cables, seat and heat.",
    ),
    "reset": (
        "needs a reset",
        "End the programs on it, and reset it as root: 'nvidia-smi --gpu-reset -i N'; where that is refused, reboot.",
    ),
    "mismatch": (
        "have different versions: library and kernel module",
        "The driver was updated, and the old module is still loaded: no CUDA program starts. Reboot, or unload its "
        "modules (nvidia_uvm, nvidia_drm, nvidia_modeset, nvidia) once nothing uses them. In a container, start it "
        "again.",
    ),
    "hang": (
        "does not answer",
        "Nothing more was asked. A program that asks it hangs, too. 'dmesg | grep -i nvrm' may say why; a reboot "
        "helps.",
    ),
    "error": (
        "fails",
        "No CUDA program starts. In a container that worked before, systemd may have taken its devices away "
        "(nvidia-container-toolkit issue 48): start it again. Else look at 'dmesg | grep -i nvrm'.",
    ),
    "unbound": (
        "cannot be used",
        "PyTorch needs NVIDIA's driver for it. Install or load it ('modprobe nvidia' says what prevents it); one "
        "that vfio-pci has is given to a virtual machine, on purpose.",
    ),
    "unlisted": (
        "is missing among those that its driver lists",
        "It failed to start, or has fallen off the bus: 'dmesg | grep -i nvrm' says which. Look at its power cables.",
    ),
}  # fmt: skip
"""What a gap of this kind means, and what to do."""


def about_gaps(host: Host) -> Iterator[Answer]:
    """Yield a finding for each GPU, or driver, that could not be asked; else that all that were found could be."""
    broken = [gap for gap in host.gaps if gap.kind]
    for gap in broken:
        yield trouble(gap)
    mine = [gpu for gpu in host.gpus if gpu.vendor == "nvidia"]
    if mine and not broken:
        detail = f"the driver answers for {plural(len(mine), 'GPU')} of NVIDIA's; no PCI device is beside its list"
        yield Check(id="gpu-lost", state="fine", title="All of NVIDIA's GPUs can be asked", detail=detail)


def trouble(gap: Gap) -> Finding:
    """Return the finding about one of them."""
    what, remedy = TROUBLES[gap.kind]
    subject = "NVIDIA's driver" if gap.what in ("NVML", "GPUs") else gap.what
    if gap.kind == "mismatch":
        what = f"{what} ({gap.why})"
        subject = "The two halves of NVIDIA's driver"
    return Finding(
        id=f"gpu-{gap.kind}:{gap.what}",
        severity="note" if "vfio" in gap.why else "problem",
        title=f"{subject} {what}" + ("" if gap.kind == "mismatch" else f": {gap.why}"),
        detail=remedy,
        evidence=("host.gaps",),
    )


# Errors in the kernel's log

HARDWARE: Mapping[int, str] = {
    48: "an error in its memory that ECC could not correct: reset it, and have the card looked at if it happens again",
    61: "its microcontroller failed: reset it, update driver and firmware",
    62: "its microcontroller failed: reset it, update driver and firmware",
    63: "a bad part of its memory was replaced: reset it when convenient",
    64: "a bad part of its memory could not be replaced: the card is to be changed",
    74: "an NVLink failed: look at bridge, cables and the other GPU",
    79: "it fell off the bus: look at its power cables, its seat and its heat",
    92: "many correctable errors in its memory",
    94: "an error in its memory, contained in one program",
    95: "an error in its memory that is not contained: reset it",
    119: "its own processor (GSP) does not answer: reset it, update the driver",
    120: "its own processor (GSP) failed: reset it, update the driver",
    140: "an error in its memory that ECC could not correct: reset it",
}
"""Xids that speak of the card. The others are mostly a program's: 13, 31, 43 and 45 are faults in its kernels."""


def about_xids(host: Host) -> Iterator[Answer]:
    """Yield what NVIDIA's driver wrote to the kernel's log since boot."""
    title = "Errors of NVIDIA's GPUs since boot (Xid)"
    if host.xids is None:
        if any(gpu.vendor == "nvidia" for gpu in host.gpus):
            why = "the kernel's log may not be read here ('sudo dmesg | grep Xid' shows it)"
            yield Check(id="gpu-xid", state="unchecked", title=title, detail=why)
        return
    for xid in host.xids:
        meaning = HARDWARE.get(xid.code)
        yield Finding(
            id=f"gpu-xid:{xid.slot}:{xid.code}",
            severity="note" if meaning is None else "problem",
            title=f"The GPU at {xid.slot} had Xid {xid.code}"
            + (f" {xid.count} times" if xid.count > 1 else "")
            + f" since boot{f': {meaning}' if meaning else ''}",
            detail=f"{capitalised(meaning or 'mostly a fault of a program on it')}."
            + (f" The driver's words: {xid.last}." if xid.last else ""),
            evidence=("host.xids",),
        )
    if not host.xids:
        yield Check(id="gpu-xid", state="fine", title=title, detail="none in the kernel's log, as far as that reaches")
