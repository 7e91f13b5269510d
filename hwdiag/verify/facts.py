"""Facts of the host beside those of its record: what differs, and what of that is a cause to warn or to stop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from hwdiag.core.text import listed, plural
from hwdiag.host.identity import Identity, same_memory
from hwdiag.host.model import Host
from hwdiag.record.differences import differences, group_of
from hwdiag.record.model import Record
from hwdiag.record.row import RecordRow, RefusedRecord, flattened, row_of
from hwdiag.record.verification import FactChange, VerdictCause

LOST_MEMORY = 0.03
"""Share of the memory that a kernel may keep more of than before; one DIMM of 32 is as much."""
OF_THE_PROCESS = ("limits.*", "system.container", "system.compilers", "system.hostname")
"""Facts of how hwdiag was started, not of the host: a prolog's differ from those of a person's shell."""
RECORD_ANEW = "if that was wanted, measure again: hwdiag run"
SET_BACK = "set it back ('hwdiag audit' says how), or if it was wanted, measure again: hwdiag run"
LOOK = {"memory": "look at the machine's event log (ipmitool sel list, dmesg), then reseat or replace the DIMM"}
KERNEL_AND_FIRMWARE = ("system.kernel", "cpu.microcode", "gpus.*.driver", "gpus.*.cuda")
Sure = Literal["WARNING", "CRITICAL"]


def changes(record: Record, host: Host) -> tuple[FactChange, ...]:
    """Return the facts that differ. What one of the two does not tell is no change."""
    then = row_of(record.model_dump_json().encode(), "record.json")
    if isinstance(then, RefusedRecord):  # of facts only that no host has
        return ()
    told = dict(flattened(host.model_dump(mode="json"), ""))
    now = then.model_copy(update={"facts": told, "location": "now"})
    return tuple(differing(then, now))


def differing(then: RecordRow, now: RecordRow) -> Iterator[FactChange]:
    """Yield the facts that both tell, and differently."""
    for found in differences([then, now]):
        before, after = found.values
        if before and after and not any(fnmatchcase(found.what, pattern) for pattern in OF_THE_PROCESS):
            yield FactChange(what=found.what[:200], then=before, now=after)


def another_machine(then: Identity, now: Identity) -> VerdictCause | None:
    """Return the cause where this is surely not the machine of the record; None where it may be.

    What is not known of either is no difference. Fewer cores or NUMA nodes are lost ones, not another machine.
    """
    names = {"cpu": "CPU", "family": "CPU family", "sockets": "sockets", "product": "product"}
    pairs = {name: (getattr(then, name), getattr(now, name)) for name in names}
    wrong = [f"{names[n]} {a} then, {b} now" for n, (a, b) in pairs.items() if None not in (a, b) and a != b]
    if not wrong:
        return None
    return VerdictCause(
        id="another-machine",
        status="CRITICAL",
        title=f"not the machine of the record: {'; '.join(wrong)}"[:1000],
        remedy="name this machine's own record (--record PATH), or if parts were changed, measure again: hwdiag run",
    )


def reimaged(then: Identity, now: Identity) -> VerdictCause | None:
    """Return the cause where the same hardware has another machine id: it was installed anew, or is its twin."""
    if None in (then.machine, now.machine) or then.machine == now.machine:
        return None
    return VerdictCause(
        id="another-installation",
        status="WARNING",
        title="alike hardware with another machine id: the host was installed again, or this is another of its kind",
        remedy="name this host's own record (--record PATH), or measure again: hwdiag run",
    )


def lost(then: Host, now: Host) -> Iterator[VerdictCause]:
    """Yield what the host had and no longer has: memory, CPUs, NUMA nodes, GPUs, instructions, disks."""
    before, after = then.memory.total_bytes, now.memory.total_bytes
    virtual = now.system.hypervisor is not None
    if before and after and after < before * (1 - LOST_MEMORY) and not (virtual and same_memory(before, after)):
        gone = (before - after) / 2**30
        yield gone_cause("memory", f"{gone:.3g} GiB of {before / 2**30:.4g} GiB memory are gone", LOOK["memory"])
    offline = sorted({*now.cpu.offline} - {*then.cpu.offline})
    if offline:
        title = f"{plural(len(offline), 'CPU')} offline that {'was' if len(offline) == 1 else 'were'} online"
        yield gone_cause("cpus", title, "look why (dmesg), then: chcpu --enable LIST")
    elif then.cpu.online and len(now.cpu.online) < len(then.cpu.online):
        title = f"{len(now.cpu.online)} CPUs, recorded {len(then.cpu.online)}"
        yield gone_cause("cpus", title, "look at the firmware's settings (SMT, cores) and at maxcpus= in /proc/cmdline")
    yield from lost_gpus(then, now)
    if then.cpu.isa is not None and now.cpu.isa is not None:
        missing = sorted({*then.cpu.isa.features} - {*now.cpu.isa.features})
        if missing:
            title = f"the CPU no longer shows {listed(missing)}"
            yield gone_cause(
                "instructions", title, "look at kernel parameters, microcode and the hypervisor's CPU model"
            )
    disks = sorted({d.name for d in then.disks} - {d.name for d in now.disks})
    if disks and len(now.disks) < len(then.disks):
        cause = gone_cause("disks", f"{listed(disks)} is no longer there", "look at dmesg and at the drive")
        yield cause.model_copy(update={"status": "WARNING"})


def lost_gpus(then: Host, now: Host) -> Iterator[VerdictCause]:
    """Yield what is wrong with GPUs: fewer of them, or a slot that is narrower than it was."""
    before, after = then.accelerators, now.accelerators
    if len(after) < len(before):
        why = f" ({now.gpu_note})" if now.gpu_note else ""
        title = f"{len(after)} GPUs, recorded {len(before)}{why}"
        yield gone_cause(
            "gpus", title, "look at dmesg for Xid lines and at the driver; drain the host and reset the GPU"
        )
    for gap in now.gaps:
        if gap.kind in ("lost", "reset", "mismatch", "hang", "error") and before:
            yield gone_cause(f"gpu-{gap.kind}", f"{gap.what}: {gap.why}", "drain the host; 'hwdiag host' says more")
    for one, other in zip(before, after, strict=False):
        for what in ("pcie_max_width", "pcie_max_generation", "nvlinks"):
            was, now_is = getattr(one, what), getattr(other, what)
            if was and now_is is not None and now_is < was:
                title = f"GPU {other.index}: {what.replace('_', ' ')} is {now_is}, recorded {was}"
                yield gone_cause(f"gpu-{what.replace('_', '-')}", title, "reseat the card; look at riser and cables")


def gone_cause(what: str, title: str, remedy: str) -> VerdictCause:
    """Return the cause for something that is no longer there."""
    return VerdictCause(id=f"lost.{what}", status="CRITICAL", title=title[:1000], remedy=remedy)


def drifted(changed: Sequence[FactChange]) -> Iterator[VerdictCause]:
    """Yield a warning for each setting, kernel, driver or microcode that is not as recorded."""
    for change in changed:
        system = any(fnmatchcase(change.what, pattern) for pattern in KERNEL_AND_FIRMWARE)
        if change.what == "cpu.offline" or (not system and group_of(change.what) != "setting"):  # told as lost
            continue
        yield VerdictCause(
            id=f"changed.{slug(change.what)}",
            status="WARNING",
            title=f"{change.what} is {short(change.now)}, recorded {short(change.then)}",
            remedy=RECORD_ANEW if system else SET_BACK,
        )


def slug(text: str) -> str:
    """Return a name of a fact as an id."""
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in text.lower())[:90].strip("-") or "fact"


def short(text: str) -> str:
    """Return a value in quotes, cut to a length that fits a line."""
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
