"""Disks: queues, read-ahead, mount options, discarding."""

from __future__ import annotations

from hwdiag.audit.kinds.disk import DiskFiles
from hwdiag.audit.kinds.mount import AccessTimes
from hwdiag.audit.kinds.unit import UnitState
from hwdiag.audit.knobs.model import Knob, KnobCase
from hwdiag.audit.knobs.rules import at_least, fixed, given, symptom_of_target
from hwdiag.host.model import Disk
from hwdiag.host.settings import READ_AHEAD, SCHEDULER

QUEUE = "/sys/block/*/queue"
BLOCK = "https://docs.kernel.org/admin-guide/abi-stable.html#abi-sys-block-disk-queue-"


def disk_of(case: KnobCase) -> Disk | None:
    """Return the disk that the setting belongs to."""
    return next((d for d in case.host.disks if d.name == case.setting.target), None)


def usual_scheduler(case: KnobCase) -> str | None:
    """Return the scheduler that the kernel itself takes: none for disks with many queues, mq-deadline for those with
    one."""
    disk = disk_of(case)
    if disk is None:
        return None
    return case.value or {"nvme": "none", "sata": "mq-deadline", "scsi": "mq-deadline"}.get(disk.kind)


def one_command_at_a_time(case: KnobCase) -> str | None:
    """Return the reason where a USB enclosure speaks the old protocol."""
    disk = disk_of(case)
    if case.now != "1" or disk is None or disk.kind not in ("scsi", "other"):
        return None
    return (
        f"{disk.name} takes one command at a time (queue depth 1): its enclosure does not use USB Attached SCSI, or a "
        "quirk turned that off. A longer queue in the kernel changes nothing; another enclosure, cable or port may"
    )


def can_discard(case: KnobCase) -> str | None:
    """Return the value, where some disk passes discards on."""
    passes = [w for w, now in case.others.items() if w.endswith("/queue/discard_max_bytes") and now not in ("", "0")]
    return (case.value or "enabled") if passes else None


KNOBS = (
    Knob(
        id="io.scheduler",
        group="io",
        what="Who orders the requests to a disk.",
        source=DiskFiles(path=f"/sys/block/*/{SCHEDULER}"),
        known="The kernel's own choice is right: none for NVMe, mq-deadline for SATA and USB. Worth setting only where "
        "something changed it, or to none for disks that ZFS has to itself.",
        evidence="documented",
        link=f"{BLOCK}scheduler",
        risk="Changing it resets nr_requests.",
        wanted=usual_scheduler,
        listed_in="scheduler",  # "none" alone, without brackets, where there is no other
        takes="none|mq-deadline|kyber|bfq",
        takes_text="none, mq-deadline, kyber or bfq",
        disturbs=("nr_requests", "wbt_lat_usec", "iosched/async_depth"),
        persists="udev",
    ),
    Knob(
        id="io.nr_requests",
        group="io",
        what="How many requests may wait in the kernel's queue of a disk.",
        source=DiskFiles(path=f"{QUEUE}/nr_requests"),
        known="It is no queue of the disk. With the scheduler 'none' the kernel refuses more than the disk's own queue "
        "holds, and below 4 it sets 4. A longer queue adds latency and no speed to a disk that takes one command at a "
        "time.",
        evidence="folklore",
        link=f"{BLOCK}nr_requests",
        risk="More latency under load.",
        wanted=given,
        takes=r"\d{1,5}",
        takes_text="a number of requests",
        after=("io.scheduler",),
        disturbs=("iosched/async_depth",),
        persists="udev",
    ),
    Knob(
        id="io.queue_depth",
        group="io",
        what="How many commands a disk takes at a time.",
        source=DiskFiles(path="/sys/block/*/device/queue_depth"),
        known="A matter of the disk and its enclosure, not of tuning.",
        evidence="documented",
        link="https://docs.kernel.org/usb/mass-storage.html",
        objection=one_command_at_a_time,
        severity="note",
    ),
    Knob(
        id="io.read_ahead",
        group="io",
        what="How many kB are read ahead of a program that reads in order.",
        source=DiskFiles(path=f"/sys/block/*/{READ_AHEAD}"),
        known="More helps one program that reads a large file in order, where that was measured to be slower than the "
        "disk. It hurts random reads and mapped files. It does nothing for ZFS.",
        evidence="documented",
        link=f"{BLOCK}read-ahead-kb",
        risk="Wasted reading, and file cache lost to it.",
        wanted=at_least(1024),
        takes=r"\d{1,5}",
        takes_text="kB",
        trigger=symptom_of_target("slow-cold-read"),
        persists="udev",
    ),
    Knob(
        id="io.access_times",
        group="io",
        what="Whether reading a file writes down when (noatime).",
        source=AccessTimes(),
        known="Since relatime became the default, in 2009, it saves next to nothing. What make_persistent.sh installs "
        "remounts after each boot and leaves /etc/fstab alone; the option there does the same.",
        evidence="documented",
        link="mount(8), noatime",
        risk="Mail programs and some cleaners of old files rely on access times.",
        wanted=fixed("noatime"),
        takes="noatime|relatime|strictatime",
        takes_text="noatime, relatime or strictatime",
        persists="unit",  # /etc/fstab is the person's own: a wrong line there keeps a host from booting
        by_name=True,
    ),
    Knob(
        id="io.trim_timer",
        group="io",
        what="Tell SSDs weekly which blocks are free.",
        source=UnitState(unit="fstrim.timer"),
        known="Keeps an SSD's writing speed up where no other discard is set. Most distributions enable it.",
        evidence="documented",
        link="fstrim(8)",
        risk="Some old SSDs and USB bridges mishandle it.",
        wanted=can_discard,
        takes="enabled|disabled",
        takes_text="enabled or disabled",
        beside=(DiskFiles(path=f"{QUEUE}/discard_max_bytes"),),
        persists="enable",
    ),
)
