"""OpenZFS. Options come and go between versions: what /sys/module/zfs does not show is not there."""

from __future__ import annotations

from hwdiag.audit.kinds.file import Files
from hwdiag.audit.kinds.mention import Mention
from hwdiag.audit.kinds.pool import PoolProperty
from hwdiag.audit.knobs.model import Knob, KnobCase
from hwdiag.audit.knobs.rules import GIB, equals, fixed, present, unified_memory

PARAMETERS = "/sys/module/zfs/parameters"
MANUAL = "https://openzfs.github.io/openzfs-docs/man/master/4/zfs.4.html"


def smaller_cache(case: KnobCase) -> str | None:
    """Return an eighth of the memory, 1 to 16 GiB."""
    total = case.host.memory.total_bytes
    return case.value or (str(max(GIB, min(16 * GIB, total // 8 // GIB * GIB))) if total else None)


def competes_with_cuda(case: KnobCase) -> str | None:
    """Return the reason on unified memory: ZFS's cache is not given back as readily as page cache, and CUDA takes from
    the same."""
    if not unified_memory(case) or case.now != "0":
        return None
    return "ZFS's cache has no limit here, and the GPU takes its memory from the same"


KNOBS = (
    Knob(
        id="zfs.arc_max",
        group="zfs",
        what="The most memory, in bytes, that ZFS caches files in.",
        source=Files(path=f"{PARAMETERS}/zfs_arc_max"),
        known="By default half of the memory, or nearly all of it from OpenZFS 2.3 on, and not counted as available.",
        evidence="documented",
        link=f"{MANUAL}#zfs_arc_max",
        risk="More reading from disk.",
        wanted=smaller_cache,
        takes=r"\d{8,14}",
        takes_text="bytes, at least 67108864",
        trigger=competes_with_cuda,
        persists="modprobe",
    ),
    Knob(
        id="zfs.prefetch_disable",
        group="zfs",
        what="Whether ZFS reads ahead.",
        source=Files(path=f"{PARAMETERS}/zfs_prefetch_disable"),
        known="It does by default, and models are read in order.",
        evidence="documented",
        link=f"{MANUAL}#zfs_prefetch_disable",
        risk="None known.",
        wanted=fixed("0"),
        takes="[01]",
        takes_text="0 or 1",
        objection=equals("1", because="ZFS does not read ahead: loading models in order is slower"),
        persists="modprobe",
    ),
    Knob(
        id="zfs.autotrim",
        group="zfs",
        what="Tell SSDs at once which blocks a pool freed.",
        source=PoolProperty(property="autotrim"),
        known="A monthly 'zpool trim' is the usual alternative. It needs disks that pass discards on ('lsblk -D').",
        evidence="documented",
        link="https://openzfs.github.io/openzfs-docs/man/master/7/zpoolprops.7.html#autotrim",
        risk="More latency; some disks mishandle queued TRIM.",
        wanted=fixed("on"),
        takes="on|off",
        takes_text="on or off",
        persists="device",
    ),
    Knob(
        id="zfs.arc_meta_limit",
        group="zfs",
        what="A limit for metadata in ZFS's cache.",
        source=Mention(
            folders=("/etc/modprobe.d",), pattern=r"options\s+zfs\b.*\bzfs_arc_meta_(limit|min|prune|strategy)"
        ),
        known="Removed in OpenZFS 2.2.0, which ignores it.",
        evidence="documented",
        link="https://github.com/openzfs/zfs/commit/a8d83e2a24",
        objection=present("{where} sets an option that OpenZFS no longer has since 2.2.0: '{now}'"),
        severity="note",
    ),
    Knob(
        id="zfs.vdev_scheduler",
        group="zfs",
        what="The disks' scheduler, set by ZFS.",
        source=Mention(folders=("/etc/modprobe.d",), pattern=r"options\s+zfs\b.*\bzfs_vdev_scheduler"),
        known="Deprecated for years and gone in OpenZFS 2.4.0; a udev rule does it (io.scheduler=none).",
        evidence="documented",
        link="https://github.com/openzfs/zfs/commit/fc617645a3",
        objection=present("{where} sets an option that OpenZFS no longer has since 2.4.0: '{now}'"),
        severity="note",
    ),
)
